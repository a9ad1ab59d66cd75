/*
 * vmem_tree.h - an ordered index: a B+ tree of pairs of words whose leaves are
 * chained and whose nodes can know the largest value below them.
 *
 * It allocates nothing by itself: nodes come from a stock that the caller has
 * filled.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef QR_VMEM_TREE_H
#define QR_VMEM_TREE_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	VMEM_FAN = 18,    /* entries of a node */
	VMEM_LEVELS = 16, /* no tree is higher: 2^47 bytes of nodes are less */
	VMEM_SHAPES = 8,  /* constraints that nodes know of */
};

/*
 * An entry of a leaf is a pair and what it is about.  An entry of an inner node
 * is the first pair below a child, and the child; but unless the tree orders
 * equal keys by their values, e_val is the largest value below the child.
 */
struct vmem_ent {
	uintptr_t e_key;
	uintptr_t e_val;
	void *e_ptr;
};

/*
 * A node.  Leaves are chained in order.
 *
 * Invariants:
 *   N1  pairs ascend, within and across leaves.
 *   N2  no node is empty.
 *   N3  the key (with t_pairs, the pair) of entry i > 0 of an inner node is
 *       that of the first entry below its child.  Entry 0 has any key.
 *   N4  without t_pairs, n_max is the largest e_val of the node, and e_val of
 *       an entry of an inner node is n_max of its child.
 *   N5  if n_shape_gen[k] is that of shape k of the arena, no segment below
 *       has a place of that shape for n_shape[k] integers or more.
 */
struct vmem_node {
	struct vmem_node *n_parent;
	struct vmem_node *n_prev; /* leaves: the one before */
	struct vmem_node *n_next; /* leaves: the one after; in a stock: chain */
	uintptr_t n_max;
	uint8_t n_count;
	uint8_t n_level; /* 0 for a leaf */
	uint32_t n_shape_gen[VMEM_SHAPES];
	size_t n_shape[VMEM_SHAPES];
	struct vmem_ent n_ent[VMEM_FAN];
} QR_ALIGNED(QR_CACHE_LINE);

struct vmem_tree {
	struct vmem_node *t_root; /* NULL when empty */
	struct vmem_node *t_first;
	struct vmem_node *t_last;
	size_t t_nodes;
	size_t t_count; /* entries of leaves */
	bool t_pairs;   /* (c) keys repeat; values tell them apart */
	bool t_shaped;  /* nodes may have n_shape_gen other than 0 */
};

/* An entry of a leaf; p_leaf NULL: none. */
struct vmem_pos {
	struct vmem_node *p_leaf;
	unsigned p_i;
};

/* Nodes obtained and not yet used. */
struct vmem_nodes {
	struct vmem_node *s_list;
	size_t s_count;
};

/* Have n nodes at least; false when memory is short (what came is kept). */
bool vmem__nodes_fill(struct vmem_nodes *stock, size_t n);
void vmem__nodes_drain(struct vmem_nodes *stock);

/*
 * The last entry that is not above the pair, or the first one that is.  Where
 * keys are unique, val is UINTPTR_MAX.
 */
struct vmem_pos vmem__tree_floor(
    const struct vmem_tree *t, uintptr_t key, uintptr_t val);
struct vmem_pos vmem__tree_above(
    const struct vmem_tree *t, uintptr_t key, uintptr_t val);
struct vmem_pos vmem__pos_next(struct vmem_pos pos);
/* Which entry of its parent a node is. */
unsigned vmem__child_index(
    const struct vmem_node *parent, const struct vmem_node *child);

/* Nodes that one vmem__tree_put can use up. */
size_t vmem__tree_need(const struct vmem_tree *t);
/* Insert; the stock has the nodes. */
void vmem__tree_put(
    struct vmem_tree *t, struct vmem_ent ent, struct vmem_nodes *stock);
/* Replace an entry by one that belongs at the same place. */
void vmem__tree_change(
    struct vmem_tree *t, struct vmem_pos pos, struct vmem_ent ent);
void vmem__tree_remove(struct vmem_tree *t, struct vmem_pos pos);
/* Give every node back. */
void vmem__tree_clear(struct vmem_tree *t);

#endif /* QR_VMEM_TREE_H */
