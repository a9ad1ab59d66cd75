/*
 * list.h - intrusive, circular, doubly linked list.
 */
#ifndef QR_LIST_H
#define QR_LIST_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>

/* A list head, or the link inside an element.  An empty head is its own ring. */
struct qr_list {
	struct qr_list *next;
	struct qr_list *prev;
};

#define QR_LIST_INIT(head)       \
	{                        \
		&(head), &(head) \
	}

static inline void
qr_list_init(struct qr_list *head)
{
	head->next = head;
	head->prev = head;
}

static inline bool
qr_list_empty(const struct qr_list *head)
{
	return (head->next == head);
}

static inline void
qr_list_insert_after(struct qr_list *pos, struct qr_list *item)
{
	item->next = pos->next;
	item->prev = pos;
	pos->next->prev = item;
	pos->next = item;
}

static inline void
qr_list_push_front(struct qr_list *head, struct qr_list *item)
{
	qr_list_insert_after(head, item);
}

static inline void
qr_list_push_back(struct qr_list *head, struct qr_list *item)
{
	qr_list_insert_after(head->prev, item);
}

/* Unlink; the item is left as an empty ring, so removing twice is harmless. */
static inline void
qr_list_remove(struct qr_list *item)
{
	item->prev->next = item->next;
	item->next->prev = item->prev;
	qr_list_init(item);
}

#define QR_LIST_ENTRY(link, type, member) QR_CONTAINER_OF(link, type, member)

#define QR_LIST_FIRST(head, type, member) \
	QR_LIST_ENTRY((head)->next, type, member)

/* The link of an entry that may be the head, and then is no `type` at all. */
#define QR_LIST_LINK(var, type, member) \
	((struct qr_list *)(void *)((char *)(var) + offsetof(type, member)))

#define QR_LIST_FOREACH(var, head, type, member)                    \
	for (type *var = QR_LIST_ENTRY((head)->next, type, member); \
	     QR_LIST_LINK(var, type, member) != (head);             \
	     var = QR_LIST_ENTRY(var->member.next, type, member))

/* As QR_LIST_FOREACH; the body may remove `var`. */
#define QR_LIST_FOREACH_SAFE(var, head, type, member)                       \
	for (type *var = QR_LIST_ENTRY((head)->next, type, member),         \
		  *var##_next = QR_LIST_ENTRY(                              \
		      QR_LIST_LINK(var, type, member)->next, type, member); \
	     QR_LIST_LINK(var, type, member) != (head); var = var##_next,   \
		  var##_next = QR_LIST_ENTRY(                               \
		      QR_LIST_LINK(var, type, member)->next, type, member))

#endif /* QR_LIST_H */
