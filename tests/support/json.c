/*
 * json.c - is it JSON?  Of numbers only natural ones, which is all we write.
 */
#include "support/json.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

static const char *json_value(const char *s);

static const char *
json_space(const char *s)
{
	while (*s == ' ' || *s == '\n' || *s == '\t' || *s == '\r')
		s++;
	return (s);
}

/* One character of a string: an escape, or valid UTF-8. */
static const char *
json_character(const char *s)
{
	unsigned char c = (unsigned char)*s++;
	unsigned char next = (unsigned char)*s;
	unsigned more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc2 ? 1 : 0;

	if (c == '\\') {
		if (*s != 'u')
			return (*s && strchr("\"\\/bfnrt", *s) ? s + 1 : NULL);
		for (int i = 1; i <= 4; i++) {
			if (!isxdigit((unsigned char)s[i]))
				return (NULL);
		}
		return (s + 5);
	}
	if (c < 0x20 || (c >= 0x80 && more == 0) || c > 0xf4 ||
	    (c == 0xe0 && next < 0xa0) || (c == 0xed && next > 0x9f) ||
	    (c == 0xf0 && next < 0x90) || (c == 0xf4 && next > 0x8f))
		return (NULL);
	for (; more > 0; more--) {
		if (((unsigned char)*s++ & 0xc0) != 0x80)
			return (NULL);
	}
	return (s);
}

const char *
json_text(const char *s)
{
	if (*s++ != '"')
		return (NULL);
	while (s != NULL && *s != '"')
		s = *s == '\0' ? NULL : json_character(s);
	return (s == NULL ? NULL : s + 1);
}

const char *
json_number(const char *s)
{
	const char *first = s;

	while (isdigit((unsigned char)*s))
		s++;
	return (s == first || (*first == '0' && s > first + 1) ? NULL : s);
}

/* The items of an array, or of an object, up to and with its end. */
static const char *
json_items(const char *s, char last)
{
	s = json_space(s);
	if (*s == last)
		return (s + 1);
	for (;;) {
		if (last == '}') {
			s = json_text(json_space(s));
			if (s == NULL || *(s = json_space(s)) != ':')
				return (NULL);
			s++;
		}
		s = json_value(s);
		if (s == NULL)
			return (NULL);
		s = json_space(s);
		if (*s == last)
			return (s + 1);
		if (*s++ != ',')
			return (NULL);
	}
}

static const char *
json_value(const char *s)
{
	s = json_space(s);
	if (*s == '{')
		return (json_items(s + 1, '}'));
	if (*s == '[')
		return (json_items(s + 1, ']'));
	if (strncmp(s, "true", 4) == 0)
		return (s + 4);
	if (strncmp(s, "false", 5) == 0)
		return (s + 5);
	return (*s == '"' ? json_text(s) : json_number(s));
}

bool
json_valid(const char *s)
{
	s = json_value(s);
	return (s != NULL && *json_space(s) == '\0');
}
