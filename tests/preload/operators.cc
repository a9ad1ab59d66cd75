/*
 * operators.cc - each operator new and delete of C++, in a program that is linked
 * with rival.so, whose new and delete do not agree with any malloc but its own;
 * or, compiled with REPLACED, in one that has some operators itself, which all
 * others are to call.
 */
#include "check.h"

#include <cstddef>
#include <cstdint>
#include <new>

namespace
{

/* Volatile, so that the compiler cannot leave out an allocation. */
volatile std::size_t size = 100;
volatile std::size_t huge = static_cast<std::size_t>(PTRDIFF_MAX);
constexpr std::align_val_t align{512};
int taken, given, taken_aligned, given_aligned;
bool full;

} // namespace

#ifdef REPLACED

namespace
{

/* A tag in front tells whose the block is. */
constexpr std::size_t TAG = 0x7a9;

void *
tagged(std::size_t n, std::size_t in_front)
{
	char *block;

	if (full || n >= huge ||
	    posix_memalign(
		reinterpret_cast<void **>(&block), in_front, n + in_front) != 0)
		throw std::bad_alloc();
	*reinterpret_cast<std::size_t *>(block) = TAG;
	return (block + in_front);
}

void
untag(void *p, std::size_t in_front)
{
	char *block = static_cast<char *>(p) - in_front;

	if (p == nullptr)
		return;
	CHECK(*reinterpret_cast<std::size_t *>(block) == TAG);
	*reinterpret_cast<std::size_t *>(block) = 0;
	free(block);
}

} // namespace

void *
operator new(std::size_t n)
{
	taken++;
	return (tagged(n, 16));
}

void
operator delete(void *p) noexcept
{
	given++;
	untag(p, 16);
}

void *
operator new(std::size_t n, std::align_val_t a)
{
	taken_aligned++;
	return (tagged(n, static_cast<std::size_t>(a)));
}

void
operator delete(void *p, std::align_val_t a) noexcept
{
	given_aligned++;
	untag(p, static_cast<std::size_t>(a));
}

#endif

namespace
{

/* Every new with every delete that may follow it. */
void
each_delete_takes_what_each_new_gave()
{
	void *p[10];

	taken = given = taken_aligned = given_aligned = 0;
	for (void *&q : p)
		q = ::operator new(size);
	::operator delete(p[0]);
	::operator delete(p[1], size);
	::operator delete(p[2], std::nothrow);
	for (int i = 0; i < 3; i++)
		p[i] = ::operator new(size, std::nothrow);
	::operator delete(p[0]);
	::operator delete(p[1], size);
	::operator delete(p[2], std::nothrow);
	for (int i = 3; i < 10; i++)
		::operator delete(p[i]);

	for (void *&q : p)
		q = ::operator new[](size);
	::operator delete[](p[0]);
	::operator delete[](p[1], size);
	::operator delete[](p[2], std::nothrow);
	for (int i = 0; i < 3; i++)
		p[i] = ::operator new[](size, std::nothrow);
	::operator delete[](p[0]);
	::operator delete[](p[1], size);
	::operator delete[](p[2], std::nothrow);
	for (int i = 3; i < 10; i++)
		::operator delete[](p[i]);

	for (void *&q : p) {
		q = ::operator new(size, align);
		CHECK(reinterpret_cast<std::uintptr_t>(q) % 512 == 0);
	}
	::operator delete(p[0], align);
	::operator delete(p[1], size, align);
	::operator delete(p[2], align, std::nothrow);
	for (int i = 0; i < 3; i++)
		p[i] = ::operator new(size, align, std::nothrow);
	::operator delete(p[0], align);
	::operator delete(p[1], size, align);
	::operator delete(p[2], align, std::nothrow);
	for (int i = 3; i < 10; i++)
		::operator delete(p[i], align);

	for (void *&q : p) {
		q = ::operator new[](size, align);
		CHECK(reinterpret_cast<std::uintptr_t>(q) % 512 == 0);
	}
	::operator delete[](p[0], align);
	::operator delete[](p[1], size, align);
	::operator delete[](p[2], align, std::nothrow);
	for (int i = 0; i < 3; i++)
		p[i] = ::operator new[](size, align, std::nothrow);
	::operator delete[](p[0], align);
	::operator delete[](p[1], size, align);
	::operator delete[](p[2], align, std::nothrow);
	for (int i = 3; i < 10; i++)
		::operator delete[](p[i], align);
}

void
what_the_program_has_itself_is_called_by_all_others()
{
	each_delete_takes_what_each_new_gave();
#ifdef REPLACED
	CHECK(taken == 26 && given == 26);
	CHECK(taken_aligned == 26 && given_aligned == 26);
#endif
}

void
blocks_are_those_of_malloc()
{
#ifndef REPLACED
	std::size_t before = check_in_use();
	void *p = ::operator new(5000);
	void *q = ::operator new[](5000, align);

	CHECK(check_in_use() >= before + 10000);
	CHECK(malloc_usable_size(p) >= 5000 && malloc_usable_size(q) >= 5000);
	free(p);
	free(q);
	CHECK(check_in_use() == before);
	p = malloc(size);
	::operator delete(p, size);
	CHECK(check_in_use() == before);
#endif
}

int handled;

void
give_up_at_last()
{
	if (++handled == 3)
		std::set_new_handler(nullptr);
}

template <class F>
void
throws(F allocate)
{
	handled = 0;
	std::set_new_handler(give_up_at_last);
	try {
		allocate();
		CHECK(false);
	} catch (const std::bad_alloc &) {
	}
	std::set_new_handler(nullptr);
#ifndef REPLACED
	CHECK(handled == 3);
#endif
}

void
without_memory_they_ask_the_handler_and_throw()
{
	full = true;
	throws([] { ::operator delete(::operator new(huge)); });
	throws([] { ::operator delete[](::operator new[](huge)); });
	throws([] { ::operator delete(::operator new(huge, align), align); });
	throws(
	    [] { ::operator delete[](::operator new[](huge, align), align); });
	CHECK(::operator new(huge, std::nothrow) == nullptr);
	CHECK(::operator new[](huge, std::nothrow) == nullptr);
	CHECK(::operator new(huge, align, std::nothrow) == nullptr);
	CHECK(::operator new[](huge, align, std::nothrow) == nullptr);
	full = false;
}

const struct check table[] = {
    CHECK_THAT(each_delete_takes_what_each_new_gave),
    CHECK_THAT(what_the_program_has_itself_is_called_by_all_others),
    CHECK_THAT(blocks_are_those_of_malloc),
    CHECK_THAT(without_memory_they_ask_the_handler_and_throw),
};

} // namespace

CHECK_MAIN(table)
