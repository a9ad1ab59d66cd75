/* Linked with quarry-malloc, and calls nothing of it. */
int
main(void)
{
	return (0);
}
