/*
 * list_test.c - the intrusive list.
 */
#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

struct item {
	int i_number;
	struct qr_list i_link;
};

/* The numbers in list order, as the digits of one number; checks the ring. */
static int
digits_of(struct qr_list *head)
{
	int digits = 0;

	QR_LIST_FOREACH (it, head, struct item, i_link) {
		assert_ptr_equal(it->i_link.prev->next, &it->i_link);
		assert_ptr_equal(it->i_link.next->prev, &it->i_link);
		digits = digits * 10 + it->i_number;
	}
	return (digits);
}

static void
an_empty_head_is_its_own_ring(void **state)
{
	struct qr_list fixed = QR_LIST_INIT(fixed);
	struct qr_list head;
	(void)state;

	qr_list_init(&head);
	assert_true(qr_list_empty(&head));
	assert_true(qr_list_empty(&fixed));
	assert_int_equal(digits_of(&head), 0);
}

static void
items_stand_where_they_were_put(void **state)
{
	struct qr_list head = QR_LIST_INIT(head);
	struct item a = {.i_number = 1}, b = {.i_number = 2},
		    c = {.i_number = 3}, d = {.i_number = 4};
	(void)state;

	qr_list_push_back(&head, &b.i_link);
	qr_list_push_back(&head, &d.i_link);
	qr_list_push_front(&head, &a.i_link);
	qr_list_insert_after(&b.i_link, &c.i_link);

	assert_int_equal(digits_of(&head), 1234);
	assert_false(qr_list_empty(&head));
	assert_ptr_equal(QR_LIST_FIRST(&head, struct item, i_link), &a);
}

static void
a_removed_item_is_an_empty_ring_and_may_be_removed_again(void **state)
{
	struct qr_list head = QR_LIST_INIT(head);
	struct item a = {.i_number = 1}, b = {.i_number = 2},
		    c = {.i_number = 3};
	(void)state;

	qr_list_push_back(&head, &a.i_link);
	qr_list_push_back(&head, &b.i_link);
	qr_list_push_back(&head, &c.i_link);
	qr_list_remove(&b.i_link);
	assert_true(qr_list_empty(&b.i_link));
	assert_int_equal(digits_of(&head), 13);

	qr_list_remove(&b.i_link);
	assert_int_equal(digits_of(&head), 13);

	qr_list_remove(&c.i_link);
	qr_list_remove(&a.i_link);
	assert_true(qr_list_empty(&head));
}

static void
the_safe_loop_survives_the_removal_of_its_item(void **state)
{
	struct qr_list head = QR_LIST_INIT(head);
	struct item items[9];
	(void)state;

	for (int i = 0; i < 9; i++) {
		items[i].i_number = i + 1;
		qr_list_push_back(&head, &items[i].i_link);
	}
	QR_LIST_FOREACH_SAFE (it, &head, struct item, i_link) {
		if (it->i_number % 3 != 0) {
			qr_list_remove(&it->i_link);
			it->i_number = 0;
		}
	}
	assert_int_equal(digits_of(&head), 369);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_empty_head_is_its_own_ring),
	    cmocka_unit_test(items_stand_where_they_were_put),
	    cmocka_unit_test(
		a_removed_item_is_an_empty_ring_and_may_be_removed_again),
	    cmocka_unit_test(the_safe_loop_survives_the_removal_of_its_item),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
