/*
 * vmem_tree.c - an ordered index: a B+ tree whose leaves are chained and whose
 * nodes can know the largest value below them.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vmem/vmem_tree.h"

#include "base/bits.h"
#include "base/panic.h"
#include "meta/meta.h"

#include <string.h>

static struct meta_pool node_pool =
    META_POOL_INIT("vmem_node", sizeof(struct vmem_node));

/* ---- the stock of nodes ---- */

bool
vmem__nodes_fill(struct vmem_nodes *stock, size_t n)
{
	while (stock->s_count < n) {
		struct vmem_node *node = meta_get(&node_pool);

		if (node == NULL)
			return (false);
		node->n_next = stock->s_list;
		stock->s_list = node;
		stock->s_count++;
	}
	return (true);
}

void
vmem__nodes_drain(struct vmem_nodes *stock)
{
	while (stock->s_list != NULL) {
		struct vmem_node *node = stock->s_list;

		stock->s_list = node->n_next;
		meta_put(&node_pool, node);
	}
	stock->s_count = 0;
}

static struct vmem_node *
node_new(struct vmem_tree *t, struct vmem_nodes *stock, unsigned level)
{
	struct vmem_node *n = stock->s_list;

	QR_VERIFY(n != NULL);
	stock->s_list = n->n_next;
	stock->s_count--;
	t->t_nodes++;
	n->n_next = NULL;
	n->n_level = (uint8_t)level;
	return (n);
}

static void
node_drop(struct vmem_tree *t, struct vmem_node *n)
{
	t->t_nodes--;
	meta_put(&node_pool, n);
}

/* ---- lookup ---- */

unsigned
vmem__child_index(const struct vmem_node *parent, const struct vmem_node *child)
{
	unsigned i = 0;

	while (parent->n_ent[i].e_ptr != child)
		i++;
	return (i);
}

static inline bool
not_above(const struct vmem_ent *e, uintptr_t key, uintptr_t val)
{
	return (e->e_key < key || (e->e_key == key && e->e_val <= val));
}

/* How many entries, those before `from` included, are not above the pair. */
static unsigned
rank(const struct vmem_node *n, unsigned from, uintptr_t key, uintptr_t val)
{
	unsigned left = n->n_count - from;

	while (left > 0) {
		unsigned half = left / 2;

		if (not_above(&n->n_ent[from + half], key, val)) {
			from += half + 1;
			left -= half + 1;
		} else {
			left = half;
		}
	}
	return (from);
}

/*
 * The gap behind the last entry that is not above the pair.  The end is found at
 * once: trees are built in order, and what is free behind all that is used is
 * what changes most.
 */
static struct vmem_pos
tree_gap(const struct vmem_tree *t, uintptr_t key, uintptr_t val)
{
	struct vmem_node *n = t->t_last;

	if (n == NULL)
		return ((struct vmem_pos){NULL, 0});
	if (not_above(&n->n_ent[n->n_count - 1], key, val))
		return ((struct vmem_pos){n, n->n_count});
	n = t->t_root;
	while (n->n_level != 0)
		n = n->n_ent[rank(n, 1, key, val) - 1].e_ptr;
	return ((struct vmem_pos){n, rank(n, 0, key, val)});
}

struct vmem_pos
vmem__pos_next(struct vmem_pos pos)
{
	if (pos.p_i + 1 < pos.p_leaf->n_count)
		return ((struct vmem_pos){pos.p_leaf, pos.p_i + 1});
	return ((struct vmem_pos){pos.p_leaf->n_next, 0});
}

struct vmem_pos
vmem__tree_floor(const struct vmem_tree *t, uintptr_t key, uintptr_t val)
{
	struct vmem_pos pos = tree_gap(t, key, val);

	/* A gap in front of all of a leaf is in front of everything: N3. */
	if (pos.p_i == 0)
		return ((struct vmem_pos){NULL, 0});
	pos.p_i--;
	return (pos);
}

struct vmem_pos
vmem__tree_above(const struct vmem_tree *t, uintptr_t key, uintptr_t val)
{
	struct vmem_pos pos = tree_gap(t, key, val);

	if (pos.p_leaf != NULL && pos.p_i == pos.p_leaf->n_count)
		return ((struct vmem_pos){pos.p_leaf->n_next, 0});
	return (pos);
}

/* ---- what nodes know of what is below ---- */

static uintptr_t
node_max(const struct vmem_node *n)
{
	uintptr_t max = 0;

	for (unsigned i = 0; i < n->n_count; i++)
		max = qr_max(max, n->n_ent[i].e_val);
	return (max);
}

/* What is hopeless below n, and below the nodes above it, may not be now. */
static void
shapes_forget(const struct vmem_tree *t, struct vmem_node *n)
{
	if (!t->t_shaped)
		return;
	for (; n != NULL; n = n->n_parent)
		memset(n->n_shape_gen, 0, sizeof(n->n_shape_gen));
}

/* Entries of n have changed. */
static void
summary_fix(const struct vmem_tree *t, struct vmem_node *n)
{
	shapes_forget(t, n);
	while (!t->t_pairs) {
		struct vmem_node *up = n->n_parent;
		uintptr_t max = node_max(n);

		if (max == n->n_max)
			break;
		n->n_max = max;
		if (up == NULL)
			break;
		up->n_ent[vmem__child_index(up, n)].e_val = max;
		n = up;
	}
}

/* The first entry of n has changed: so has the nearest separator above it. */
static void
separator_fix(const struct vmem_tree *t, struct vmem_node *n)
{
	const struct vmem_ent *first = &n->n_ent[0];

	for (struct vmem_node *up = n->n_parent; up != NULL;
	     n = up, up = n->n_parent) {
		unsigned i = vmem__child_index(up, n);

		if (i == 0)
			continue;
		up->n_ent[i].e_key = first->e_key;
		if (t->t_pairs)
			up->n_ent[i].e_val = first->e_val;
		return;
	}
}

/* ---- moving entries ---- */

static void
place(struct vmem_node *n, unsigned i, struct vmem_ent ent)
{
	memmove(&n->n_ent[i + 1], &n->n_ent[i],
	    (n->n_count - i) * sizeof(n->n_ent[0]));
	n->n_ent[i] = ent;
	n->n_count++;
	if (n->n_level != 0)
		((struct vmem_node *)ent.e_ptr)->n_parent = n;
}

/* Move the entries of `from`, from index `at` on, to the end of `to`. */
static void
move_tail(struct vmem_node *to, struct vmem_node *from, unsigned at)
{
	for (unsigned i = at; i < from->n_count; i++)
		place(to, to->n_count, from->n_ent[i]);
	from->n_count = (uint8_t)at;
}

/* The entry that stands for `n` in its parent. */
static struct vmem_ent
entry_for(const struct vmem_tree *t, struct vmem_node *n)
{
	return ((struct vmem_ent){
	    n->n_ent[0].e_key, t->t_pairs ? n->n_ent[0].e_val : n->n_max, n});
}

static void
chain_after(struct vmem_tree *t, struct vmem_node *n, struct vmem_node *before)
{
	n->n_prev = before;
	n->n_next = before->n_next;
	if (before->n_next != NULL)
		before->n_next->n_prev = n;
	else
		t->t_last = n;
	before->n_next = n;
}

static void
unchain(struct vmem_tree *t, struct vmem_node *n)
{
	if (n->n_prev != NULL)
		n->n_prev->n_next = n->n_next;
	else
		t->t_first = n->n_next;
	if (n->n_next != NULL)
		n->n_next->n_prev = n->n_prev;
	else
		t->t_last = n->n_prev;
}

/* ---- insertion ---- */

size_t
vmem__tree_need(const struct vmem_tree *t)
{
	return (t->t_root == NULL ? 1 : t->t_root->n_level + (size_t)2);
}

static void
root_grow(struct vmem_tree *t, struct vmem_nodes *stock)
{
	struct vmem_node *old = t->t_root;
	struct vmem_node *root = node_new(t, stock, old->n_level + 1u);

	place(root, 0, entry_for(t, old));
	root->n_max = old->n_max;
	t->t_root = root;
}

/*
 * Split the full node n and place ent at index i of it.  Returns the new right
 * neighbour, which its parent does not know yet.  Appending leaves n full, so
 * that a tree that is filled in order is packed.
 */
static QR_NOINLINE struct vmem_node *
split(struct vmem_tree *t, struct vmem_node *n, unsigned i, struct vmem_ent ent,
    struct vmem_nodes *stock)
{
	struct vmem_node *right = node_new(t, stock, n->n_level);

	move_tail(right, n, i == VMEM_FAN ? VMEM_FAN : VMEM_FAN / 2);
	if (i > n->n_count || right->n_count == 0)
		place(right, i - n->n_count, ent);
	else
		place(n, i, ent);
	if (n->n_level == 0)
		chain_after(t, right, n);
	shapes_forget(t, n);
	if (!t->t_pairs) {
		right->n_max = node_max(right);
		n->n_max = node_max(n);
	}
	return (right);
}

void
vmem__tree_put(
    struct vmem_tree *t, struct vmem_ent ent, struct vmem_nodes *stock)
{
	struct vmem_pos pos = tree_gap(t, ent.e_key, ent.e_val);
	struct vmem_node *n = pos.p_leaf;
	unsigned i = pos.p_i;

	if (n == NULL) {
		n = node_new(t, stock, 0);
		t->t_root = n;
		t->t_first = n;
		t->t_last = n;
	}
	while (n->n_count == VMEM_FAN) {
		struct vmem_node *right = split(t, n, i, ent, stock);

		if (n->n_parent == NULL)
			root_grow(t, stock);
		ent = entry_for(t, right);
		i = vmem__child_index(n->n_parent, n) + 1;
		if (!t->t_pairs)
			n->n_parent->n_ent[i - 1].e_val = n->n_max;
		n = n->n_parent;
	}
	place(n, i, ent);
	if (i == 0)
		separator_fix(t, n);
	summary_fix(t, n);
	t->t_count++;
}

void
vmem__tree_change(struct vmem_tree *t, struct vmem_pos pos, struct vmem_ent ent)
{
	pos.p_leaf->n_ent[pos.p_i] = ent;
	if (pos.p_i == 0)
		separator_fix(t, pos.p_leaf);
	summary_fix(t, pos.p_leaf);
}

/* ---- removal ---- */

static void entry_remove(struct vmem_tree *t, struct vmem_node *n, unsigned i);

static void
node_unlink(struct vmem_tree *t, struct vmem_node *n)
{
	struct vmem_node *up = n->n_parent;

	if (n->n_level == 0)
		unchain(t, n);
	if (up == NULL)
		t->t_root = NULL;
	else
		entry_remove(t, up, vmem__child_index(up, n));
	node_drop(t, n);
}

/* Append `right` to its left neighbour; both are children of one node. */
static void
merge(struct vmem_tree *t, struct vmem_node *left, struct vmem_node *right)
{
	struct vmem_node *up = left->n_parent;
	unsigned i = vmem__child_index(up, right);

	/* An inner node does not know its own first separator. */
	right->n_ent[0].e_key = up->n_ent[i].e_key;
	if (t->t_pairs)
		right->n_ent[0].e_val = up->n_ent[i].e_val;
	move_tail(left, right, 0);
	shapes_forget(t, left);
	if (!t->t_pairs) {
		left->n_max = node_max(left);
		up->n_ent[i - 1].e_val = left->n_max;
	}
	node_unlink(t, right);
}

/*
 * Nodes look at their neighbours only when three quarters of them are empty,
 * and merging leaves room for a quarter: no pattern splits and merges in turns.
 */
static void
merge_if_few(struct vmem_tree *t, struct vmem_node *n)
{
	struct vmem_node *up = n->n_parent;
	struct vmem_node *other;
	unsigned i;

	if (up == NULL || n->n_count > VMEM_FAN / 4)
		return;
	i = vmem__child_index(up, n);
	if (i + 1u < up->n_count) {
		other = up->n_ent[i + 1].e_ptr;
		if (n->n_count + other->n_count <= VMEM_FAN * 3 / 4) {
			merge(t, n, other);
			return;
		}
	}
	if (i > 0) {
		other = up->n_ent[i - 1].e_ptr;
		if (n->n_count + other->n_count <= VMEM_FAN * 3 / 4)
			merge(t, other, n);
	}
}

static void
root_shrink(struct vmem_tree *t)
{
	while (t->t_root->n_level != 0 && t->t_root->n_count == 1) {
		struct vmem_node *n = t->t_root;

		t->t_root = n->n_ent[0].e_ptr;
		t->t_root->n_parent = NULL;
		node_drop(t, n);
	}
}

static void
entry_remove(struct vmem_tree *t, struct vmem_node *n, unsigned i)
{
	n->n_count--;
	memmove(&n->n_ent[i], &n->n_ent[i + 1],
	    (n->n_count - i) * sizeof(n->n_ent[0]));
	if (n->n_count == 0) {
		node_unlink(t, n);
		return;
	}
	if (i == 0)
		separator_fix(t, n);
	summary_fix(t, n);
	if (n->n_parent == NULL)
		root_shrink(t);
	else
		merge_if_few(t, n);
}

void
vmem__tree_remove(struct vmem_tree *t, struct vmem_pos pos)
{
	entry_remove(t, pos.p_leaf, pos.p_i);
	t->t_count--;
}

void
vmem__tree_clear(struct vmem_tree *t)
{
	struct vmem_node *n = t->t_root;

	while (n != NULL) {
		struct vmem_node *up;

		while (n->n_level != 0 && n->n_count > 0)
			n = n->n_ent[n->n_count - 1].e_ptr;
		up = n->n_parent;
		node_drop(t, n);
		if (up != NULL)
			up->n_count--;
		n = up;
	}
	*t = (struct vmem_tree){.t_pairs = t->t_pairs};
}
