/*
 * cxx.cc - a C++ program: operators new and delete, exceptions, containers,
 * threads and what outlives main.
 */
#include "check.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <new>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace
{

/* Volatile, so that the compiler cannot leave out an allocation. */
volatile std::size_t huge = static_cast<std::size_t>(PTRDIFF_MAX);

struct alignas(256) wide {
	char w_bytes[256];
};

void
new_and_delete_pair_in_all_forms()
{
	for (int i = 0; i < 1000; i++) {
		std::unique_ptr<int> one(new int(i));
		std::unique_ptr<int[]> many(new int[1 + i * 7]());
		std::unique_ptr<wide> aligned(new wide());
		std::unique_ptr<wide[]> row(new wide[3]());

		CHECK(*one == i && many[i * 7] == 0);
		CHECK(
		    reinterpret_cast<std::uintptr_t>(aligned.get()) % 256 == 0);
		CHECK(reinterpret_cast<std::uintptr_t>(row.get()) % 256 == 0);
	}
	::operator delete(::operator new(0));
	::operator delete(::operator new(100, std::align_val_t(4096)),
	    std::align_val_t(4096));
}

void
a_huge_new_throws_bad_alloc_and_the_nothrow_form_answers_null()
{
	int caught = 0;

	for (std::size_t size = huge; size > huge / 64; size /= 2) {
		try {
			::operator delete(::operator new(size));
		} catch (const std::bad_alloc &) {
			caught++;
		}
		CHECK(::operator new(size, std::nothrow) == nullptr);
	}
	CHECK(caught == 6);
	try {
		std::vector<char> v(huge - 1);
		CHECK(v.empty());
	} catch (const std::bad_alloc &) {
		caught++;
	} catch (const std::length_error &) {
		caught++;
	}
	CHECK(caught == 7);
}

int handled;

void
give_up()
{
	handled++;
	std::set_new_handler(nullptr);
}

void
the_new_handler_is_asked()
{
	std::set_new_handler(give_up);
	try {
		::operator delete(::operator new(huge));
		CHECK(false);
	} catch (const std::bad_alloc &) {
		CHECK(handled == 1);
	}
}

std::uint64_t
containers(unsigned salt)
{
	std::map<std::string, std::vector<int>> tree;
	std::unordered_map<int, std::shared_ptr<std::string>> table;
	std::uint64_t sum = 0;

	for (int i = 0; i < 3000; i++) {
		int n = static_cast<int>((i * 7919u + salt) % 3001);

		tree[std::to_string(n % 500)].push_back(n);
		table[n % 700] = std::make_shared<std::string>(n % 90, 'x');
	}
	for (auto &entry : tree) {
		std::sort(entry.second.begin(), entry.second.end());
		sum = std::accumulate(
		    entry.second.begin(), entry.second.end(), sum * 31);
	}
	for (auto &entry : table)
		sum += entry.second->size();
	return (sum);
}

void
containers_hold_the_same_in_every_thread()
{
	const std::uint64_t expected = containers(5);
	std::vector<std::uint64_t> sums(8);
	std::vector<std::thread> threads;

	for (auto &sum : sums)
		threads.emplace_back([&sum] { sum = containers(5); });
	for (auto &thread : threads)
		thread.join();
	for (auto sum : sums)
		CHECK(sum == expected);
}

struct noisy {
	std::string n_text;
	explicit noisy(int depth) : n_text(100 + depth % 400, 'n')
	{
	}
	~noisy()
	{
		n_text += "gone";
	}
};

void
dive(int depth)
{
	noisy n(depth);
	std::ostringstream message;

	if (depth > 0)
		return (dive(depth - 1));
	message << "bottom of " << n.n_text.size();
	throw std::runtime_error(message.str());
}

void
exceptions_unwind_through_objects_that_free()
{
	std::exception_ptr kept;

	for (int i = 0; i < 200; i++) {
		try {
			dive(i % 50);
		} catch (const std::runtime_error &e) {
			CHECK(std::string(e.what()) == "bottom of 100");
			kept = std::current_exception();
		}
	}
	std::thread([kept] {
		try {
			std::rethrow_exception(kept);
		} catch (const std::exception &e) {
			CHECK(std::string(e.what()).find("bottom") == 0);
		}
	}).join();
}

thread_local std::vector<std::string> per_thread;

void
thread_local_objects_are_destroyed_with_their_thread()
{
	for (int round = 0; round < 20; round++) {
		std::vector<std::thread> threads;

		for (int i = 0; i < 4; i++)
			threads.emplace_back([i] {
				for (int n = 0; n < 100; n++)
					per_thread.emplace_back(n * i, 't');
			});
		for (auto &thread : threads)
			thread.join();
	}
	per_thread.emplace_back(1000, 'm');
}

/* Made before main and destroyed after it. */
std::map<int, std::string> global = {{1, std::string(500, 'g')}};
std::string *const leaked = new std::string(10000, 'l');

void
objects_from_before_main_are_whole()
{
	CHECK(global.at(1).size() == 500);
	CHECK(leaked->size() == 10000);
	for (int i = 0; i < 1000; i++)
		global[i] = std::string(i, 'g');
}

const struct check table[] = {
    CHECK_THAT(new_and_delete_pair_in_all_forms),
    CHECK_THAT(a_huge_new_throws_bad_alloc_and_the_nothrow_form_answers_null),
    CHECK_THAT(the_new_handler_is_asked),
    CHECK_THAT(containers_hold_the_same_in_every_thread),
    CHECK_THAT(exceptions_unwind_through_objects_that_free),
    CHECK_THAT(thread_local_objects_are_destroyed_with_their_thread),
    CHECK_THAT(objects_from_before_main_are_whole),
};

} // namespace

CHECK_MAIN(table)
