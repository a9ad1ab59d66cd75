/*
 * vmem_tree.c - the ordered index: a B+ tree of pairs of words, whose leaves
 * are chained and whose inner nodes can summarise the free segments below.
 */
#include "vmem/vmem_impl.h"

#include <string.h>

static struct meta_pool node_pool =
    META_POOL_INIT("vmem_node", sizeof(struct vmem_node));

_Static_assert(offsetof(struct vmem_node, l_key) == QR_CACHE_LINE,
    "the head of a node is one cache line");
_Static_assert(VMEM_LEAF <= 32, "n_free and n_mark are 32 bits");

/* ---- spare nodes ---- */

bool
vmem__spare_fill(struct vmem_spare *sp, size_t n)
{
	while (sp->s_count < n) {
		struct vmem_node *node = meta_get(&node_pool);

		if (node == NULL)
			return (false);
		node->n_next = sp->s_list;
		sp->s_list = node;
		sp->s_count++;
	}
	return (true);
}

void
vmem__spare_drain(struct vmem_spare *sp)
{
	while (sp->s_list != NULL) {
		struct vmem_node *node = sp->s_list;

		sp->s_list = node->n_next;
		meta_put(&node_pool, node);
	}
	sp->s_count = 0;
}

static struct vmem_node *
node_new(struct vmem_tree *t, struct vmem_spare *sp, unsigned level)
{
	struct vmem_node *node = sp->s_list;

	QR_VERIFY(node != NULL);
	sp->s_list = node->n_next;
	sp->s_count--;
	t->t_nodes++;
	node->n_next = NULL;
	node->n_level = (uint8_t)level;
	node->n_bin = VMEM_NOBIN;
	qr_list_init(&node->n_link);
	return (node);
}

static void
node_drop(struct vmem_tree *t, struct vmem_node *node)
{
	t->t_nodes--;
	meta_put(&node_pool, node);
}

/* ---- lookup ---- */

/* How many of n ascending keys are at most `key`. Without branches. */
static inline unsigned
rank_keys(const uintptr_t *keys, unsigned n, uintptr_t key)
{
	unsigned lo = 0;

	while (n > 1) {
		unsigned half = n / 2;

		lo += keys[lo + half - 1] <= key ? half : 0;
		n -= half;
	}
	return (lo + (n == 1 && keys[lo] <= key));
}

static unsigned
rank_pairs(const uintptr_t *keys, const uintptr_t *vals, unsigned n,
    uintptr_t key, uintptr_t val)
{
	unsigned lo = 0;

	while (n > 0) {
		unsigned half = n / 2;
		unsigned mid = lo + half;

		if (keys[mid] < key || (keys[mid] == key && vals[mid] <= val)) {
			lo = mid + 1;
			n -= half + 1;
		} else {
			n = half;
		}
	}
	return (lo);
}

/* The gap behind the last entry that is not above (key, val). */
static struct vmem_pos
tree_gap(const struct vmem_tree *t, uintptr_t key, uintptr_t val)
{
	struct vmem_node *n = t->t_root;
	unsigned rank;

	if (n == NULL)
		return ((struct vmem_pos){NULL, 0});
	while (n->n_level != 0) {
		rank = t->t_pairs
		    ? rank_pairs(
			  n->i_key + 1, n->i_aux + 1, n->n_count - 1u, key, val)
		    : rank_keys(n->i_key + 1, n->n_count - 1u, key);
		n = n->i_child[rank];
	}
	rank = t->t_pairs ? rank_pairs(n->l_key, n->l_val, n->n_count, key, val)
			  : rank_keys(n->l_key, n->n_count, key);
	return ((struct vmem_pos){n, rank});
}

struct vmem_pos
vmem__tree_floor(const struct vmem_tree *t, uintptr_t key, uintptr_t val)
{
	struct vmem_pos gap = tree_gap(t, key, val);

	return (gap.p_leaf == NULL ? gap : vmem__pos_prev(gap));
}

struct vmem_pos
vmem__pos_next(struct vmem_pos pos)
{
	if (pos.p_i + 1 < pos.p_leaf->n_count)
		return ((struct vmem_pos){pos.p_leaf, pos.p_i + 1});
	return ((struct vmem_pos){pos.p_leaf->n_next, 0});
}

struct vmem_pos
vmem__pos_prev(struct vmem_pos pos)
{
	struct vmem_node *before = pos.p_leaf->n_prev;

	if (pos.p_i > 0)
		return ((struct vmem_pos){pos.p_leaf, pos.p_i - 1});
	if (before == NULL)
		return ((struct vmem_pos){NULL, 0});
	return ((struct vmem_pos){before, before->n_count - 1u});
}

static unsigned
child_index(const struct vmem_node *parent, const struct vmem_node *child)
{
	unsigned i = 0;

	while (parent->i_child[i] != child)
		i++;
	return (i);
}

struct vmem_node *
vmem__tree_leaf_after(const struct vmem_node *leaf, size_t size)
{
	const struct vmem_node *n = leaf;
	struct vmem_node *up;
	unsigned i;

	for (up = n->n_parent; up != NULL; n = up, up = n->n_parent) {
		i = child_index(up, n) + 1;
		while (i < up->n_count && up->i_aux[i] < size)
			i++;
		if (i < up->n_count)
			break;
	}
	if (up == NULL)
		return (NULL);
	for (up = up->i_child[i]; up->n_level != 0; up = up->i_child[i])
		for (i = 0; up->i_aux[i] < size; i++)
			;
	return (up);
}

struct vmem_node *
vmem__tree_leaf_before(const struct vmem_node *leaf, size_t size)
{
	const struct vmem_node *n = leaf;
	struct vmem_node *up;
	unsigned i;

	for (up = n->n_parent; up != NULL; n = up, up = n->n_parent) {
		i = child_index(up, n);
		while (i > 0 && up->i_aux[i - 1] < size)
			i--;
		if (i > 0)
			break;
	}
	if (up == NULL)
		return (NULL);
	for (up = up->i_child[i - 1]; up->n_level != 0; up = up->i_child[i])
		for (i = up->n_count - 1u; up->i_aux[i] < size; i--)
			;
	return (up);
}

/* ---- summaries ---- */

static size_t
inner_max(const struct vmem_node *n)
{
	size_t max = 0;

	for (unsigned i = 0; i < n->n_count; i++)
		max = qr_max(max, n->i_aux[i]);
	return (max);
}

/* n_max of `n` has changed: tell the nodes above. */
static void
summary_up(struct vmem_node *n)
{
	for (struct vmem_node *up = n->n_parent; up != NULL;
	     n = up, up = n->n_parent) {
		unsigned i = child_index(up, n);
		size_t was = up->i_aux[i];
		size_t max = up->n_max;

		up->i_aux[i] = n->n_max;
		if (n->n_max >= max)
			max = n->n_max;
		else if (was == max)
			max = inner_max(up);
		if (max == up->n_max)
			break;
		up->n_max = max;
	}
}

static void
bin_leave(struct vmem_bins *vb, struct vmem_node *leaf)
{
	if (leaf->n_bin == VMEM_NOBIN)
		return;
	qr_list_remove(&leaf->n_link);
	if (qr_list_empty(&vb->vb_list[leaf->n_bin]))
		vb->vb_map &= ~((uint64_t)1 << leaf->n_bin);
	leaf->n_bin = VMEM_NOBIN;
}

static void
bin_enter(struct vmem_bins *vb, struct vmem_node *leaf, unsigned bin)
{
	if (bin == VMEM_NOBIN)
		return;
	leaf->n_bin = (uint8_t)bin;
	qr_list_push_front(&vb->vb_list[bin], &leaf->n_link);
	vb->vb_map |= (uint64_t)1 << bin;
}

void
vmem__tree_refresh(struct vmem_tree *t, struct vmem_node *leaf)
{
	size_t max = 0;
	unsigned bin;

	if (t->t_bins == NULL)
		return;
	for (uint32_t set = leaf->n_free; set != 0; set &= set - 1)
		max = qr_max(max, leaf->l_val[qr_ctz(set)]);
	if (max == leaf->n_max)
		return;
	leaf->n_max = max;
	bin = max == 0 ? VMEM_NOBIN : qr_log2(max);
	if (bin != leaf->n_bin) {
		bin_leave(t->t_bins, leaf);
		bin_enter(t->t_bins, leaf, bin);
	}
	summary_up(leaf);
}

/* ---- insertion ---- */

size_t
vmem__tree_need(
    const struct vmem_tree *t, const struct vmem_node *leaf, unsigned entries)
{
	const struct vmem_node *n;
	size_t need = 1;

	if (leaf == NULL)
		return (t->t_root == NULL ? 1 : vmem__tree_need_any(t));
	if (leaf->n_count + entries <= VMEM_LEAF)
		return (0);
	for (n = leaf->n_parent; n != NULL && n->n_count == VMEM_INNER;
	     n = n->n_parent)
		need++;
	return (n == NULL ? need + 1 : need);
}

size_t
vmem__tree_need_any(const struct vmem_tree *t)
{
	return (t->t_root == NULL ? 1 : t->t_root->n_level + (size_t)2);
}

static void
inner_place(struct vmem_node *n, unsigned at, struct vmem_node *child,
    uintptr_t key, uintptr_t aux)
{
	size_t tail = n->n_count - at;

	memmove(&n->i_key[at + 1], &n->i_key[at], tail * sizeof(n->i_key[0]));
	memmove(&n->i_aux[at + 1], &n->i_aux[at], tail * sizeof(n->i_aux[0]));
	memmove(
	    &n->i_child[at + 1], &n->i_child[at], tail * sizeof(n->i_child[0]));
	n->i_key[at] = key;
	n->i_aux[at] = aux;
	n->i_child[at] = child;
	n->n_count++;
	child->n_parent = n;
}

/* Move the children of `from`, from index `at` on, to the end of `to`. */
static void
inner_move(struct vmem_node *to, struct vmem_node *from, unsigned at)
{
	unsigned n = from->n_count - at;

	memcpy(&to->i_key[to->n_count], &from->i_key[at],
	    n * sizeof(to->i_key[0]));
	memcpy(&to->i_aux[to->n_count], &from->i_aux[at],
	    n * sizeof(to->i_aux[0]));
	memcpy(&to->i_child[to->n_count], &from->i_child[at],
	    n * sizeof(to->i_child[0]));
	for (unsigned i = at; i < from->n_count; i++)
		from->i_child[i]->n_parent = to;
	to->n_count = (uint8_t)(to->n_count + n);
	from->n_count = (uint8_t)at;
}

static void
root_grow(struct vmem_tree *t, struct vmem_spare *sp)
{
	struct vmem_node *old = t->t_root;
	struct vmem_node *root = node_new(t, sp, old->n_level + 1u);

	inner_place(root, 0, old, 0, t->t_bins != NULL ? old->n_max : 0);
	root->n_max = old->n_max;
	t->t_root = root;
}

/*
 * Link `right` behind its left neighbour `left`, splitting full parents.  Each
 * turn of the loop leaves N3 and N4 true below the pair it goes on with.
 */
static void
link_right(struct vmem_tree *t, struct vmem_node *left, struct vmem_node *right,
    uintptr_t key, uintptr_t aux, struct vmem_spare *sp)
{
	for (;;) {
		struct vmem_node *up, *half;
		unsigned at;

		if (left->n_parent == NULL)
			root_grow(t, sp);
		up = left->n_parent;
		at = child_index(up, left) + 1;
		if (t->t_bins != NULL)
			up->i_aux[at - 1] = left->n_max;
		if (up->n_count < VMEM_INNER) {
			inner_place(up, at, right, key, aux);
			up->n_max = inner_max(up);
			if (t->t_bins != NULL)
				summary_up(up);
			return;
		}
		half = node_new(t, sp, up->n_level);
		inner_move(half, up, at == up->n_count ? at : VMEM_INNER / 2);
		if (at > up->n_count)
			inner_place(half, at - up->n_count, right, key, aux);
		else if (half->n_count == 0)
			inner_place(half, 0, right, key, aux);
		else
			inner_place(up, at, right, key, aux);
		up->n_max = inner_max(up);
		half->n_max = inner_max(half);
		left = up;
		right = half;
		key = half->i_key[0];
		aux = t->t_bins != NULL ? half->n_max : half->i_aux[0];
	}
}

static uint32_t
bits_open(uint32_t set, unsigned i, bool value)
{
	uint32_t low = set & (((uint32_t)1 << i) - 1);

	return (low | (set ^ low) << 1 | (uint32_t)value << i);
}

static uint32_t
bits_close(uint32_t set, unsigned i)
{
	uint32_t low = set & (((uint32_t)1 << i) - 1);

	return (low | ((set ^ low) >> 1 & ~(((uint32_t)1 << i) - 1)));
}

static void
leaf_place(struct vmem_node *leaf, unsigned i, uintptr_t key, uintptr_t val,
    unsigned bits)
{
	size_t tail = leaf->n_count - i;

	memmove(&leaf->l_key[i + 1], &leaf->l_key[i],
	    tail * sizeof(leaf->l_key[0]));
	memmove(&leaf->l_val[i + 1], &leaf->l_val[i],
	    tail * sizeof(leaf->l_val[0]));
	leaf->l_key[i] = key;
	leaf->l_val[i] = val;
	leaf->n_free = bits_open(leaf->n_free, i, (bits & VMEM_E_FREE) != 0);
	leaf->n_mark = bits_open(leaf->n_mark, i, (bits & VMEM_E_MARK) != 0);
	leaf->n_count++;
}

/* Move the entries of `from`, from index `at` on, to the end of `to`. */
static void
leaf_move(struct vmem_node *to, struct vmem_node *from, unsigned at)
{
	unsigned n = from->n_count - at;
	unsigned end = to->n_count;
	uint32_t keep = ((uint32_t)1 << at) - 1;

	if (n == 0)
		return;
	memcpy(&to->l_key[end], &from->l_key[at], n * sizeof(to->l_key[0]));
	memcpy(&to->l_val[end], &from->l_val[at], n * sizeof(to->l_val[0]));
	to->n_free |= from->n_free >> at << end;
	to->n_mark |= from->n_mark >> at << end;
	to->n_count = (uint8_t)(end + n);
	from->n_free &= keep;
	from->n_mark &= keep;
	from->n_count = (uint8_t)at;
}

static void
leaf_unchain(struct vmem_tree *t, struct vmem_node *leaf)
{
	if (leaf->n_prev != NULL)
		leaf->n_prev->n_next = leaf->n_next;
	else
		t->t_first = leaf->n_next;
	if (leaf->n_next != NULL)
		leaf->n_next->n_prev = leaf->n_prev;
	else
		t->t_last = leaf->n_prev;
}

static void
leaf_chain_after(
    struct vmem_tree *t, struct vmem_node *leaf, struct vmem_node *before)
{
	leaf->n_prev = before;
	leaf->n_next = before->n_next;
	if (before->n_next != NULL)
		before->n_next->n_prev = leaf;
	else
		t->t_last = leaf;
	before->n_next = leaf;
}

/*
 * Entries appended at the end leave a full leaf behind, so that an arena used
 * in ascending order is packed.
 */
static void
leaf_split(struct vmem_tree *t, struct vmem_pos *pos, uintptr_t key,
    uintptr_t val, unsigned bits, struct vmem_spare *sp)
{
	struct vmem_node *left = pos->p_leaf;
	struct vmem_node *right = node_new(t, sp, 0);
	bool append = pos->p_i == left->n_count;

	if (!append) {
		leaf_move(right, left, VMEM_LEAF / 2);
	}
	if (append || pos->p_i > left->n_count) {
		pos->p_leaf = right;
		pos->p_i -= left->n_count;
	}
	leaf_place(pos->p_leaf, pos->p_i, key, val, bits);
	leaf_chain_after(t, right, left);
	link_right(t, left, right, right->l_key[0],
	    t->t_bins != NULL ? 0 : right->l_val[0], sp);
	vmem__tree_refresh(t, right);
}

void
vmem__tree_insert(struct vmem_tree *t, struct vmem_pos *pos, uintptr_t key,
    uintptr_t val, unsigned bits, struct vmem_spare *sp)
{
	if (t->t_root == NULL) {
		t->t_root = node_new(t, sp, 0);
		t->t_first = t->t_root;
		t->t_last = t->t_root;
		*pos = (struct vmem_pos){t->t_root, 0};
	}
	if (pos->p_leaf->n_count < VMEM_LEAF)
		leaf_place(pos->p_leaf, pos->p_i, key, val, bits);
	else
		leaf_split(t, pos, key, val, bits, sp);
	t->t_count++;
}

void
vmem__tree_put(struct vmem_tree *t, uintptr_t key, uintptr_t val, unsigned bits,
    struct vmem_spare *sp)
{
	struct vmem_pos pos = tree_gap(t, key, val);
	struct vmem_node *was = pos.p_leaf;

	vmem__tree_insert(t, &pos, key, val, bits, sp);
	vmem__tree_refresh(t, pos.p_leaf);
	if (was != NULL && was != pos.p_leaf)
		vmem__tree_refresh(t, was);
}

/* ---- removal ---- */

/* The first pair below `n` is now this one: tell the separator above it. */
static void
separator_raise(const struct vmem_tree *t, struct vmem_node *n, uintptr_t key,
    uintptr_t val)
{
	for (struct vmem_node *up = n->n_parent; up != NULL;
	     n = up, up = n->n_parent) {
		unsigned i = child_index(up, n);

		if (i == 0)
			continue;
		up->i_key[i] = key;
		if (t->t_bins == NULL)
			up->i_aux[i] = val;
		return;
	}
}

void
vmem__tree_remove(struct vmem_tree *t, struct vmem_node *leaf, unsigned i)
{
	size_t tail = leaf->n_count - i - 1u;

	memmove(&leaf->l_key[i], &leaf->l_key[i + 1],
	    tail * sizeof(leaf->l_key[0]));
	memmove(&leaf->l_val[i], &leaf->l_val[i + 1],
	    tail * sizeof(leaf->l_val[0]));
	leaf->n_free = bits_close(leaf->n_free, i);
	leaf->n_mark = bits_close(leaf->n_mark, i);
	leaf->n_count--;
	t->t_count--;
	if (i == 0 && leaf->n_count > 0)
		separator_raise(t, leaf, leaf->l_key[0], leaf->l_val[0]);
}

static void inner_settle(struct vmem_tree *t, struct vmem_node *n);

/* Take child i out of `n`; the child itself is the caller's. */
static void
inner_remove(struct vmem_tree *t, struct vmem_node *n, unsigned i)
{
	size_t tail = n->n_count - i - 1u;

	memmove(&n->i_key[i], &n->i_key[i + 1], tail * sizeof(n->i_key[0]));
	memmove(&n->i_aux[i], &n->i_aux[i + 1], tail * sizeof(n->i_aux[0]));
	memmove(
	    &n->i_child[i], &n->i_child[i + 1], tail * sizeof(n->i_child[0]));
	n->n_count--;
	if (i == 0 && n->n_count > 0)
		separator_raise(t, n, n->i_key[0], n->i_aux[0]);
	inner_settle(t, n);
}

/* Append `right` to its left neighbour; both are children of one node. */
static void
inner_merge(
    struct vmem_tree *t, struct vmem_node *left, struct vmem_node *right)
{
	struct vmem_node *up = left->n_parent;
	unsigned i = child_index(up, right);

	/* Separator 0 of `right` was unused; the parent knows the true one. */
	right->i_key[0] = up->i_key[i];
	if (t->t_bins == NULL)
		right->i_aux[0] = up->i_aux[i];
	inner_move(left, right, 0);
	left->n_max = inner_max(left);
	if (t->t_bins != NULL)
		up->i_aux[i - 1] = left->n_max;
	inner_remove(t, up, i);
	node_drop(t, right);
}

static void
root_shrink(struct vmem_tree *t)
{
	while (t->t_root->n_level != 0 && t->t_root->n_count == 1) {
		struct vmem_node *n = t->t_root;

		t->t_root = n->i_child[0];
		t->t_root->n_parent = NULL;
		node_drop(t, n);
	}
}

/* A child of `n` has gone: summary, merging, height. */
static void
inner_settle(struct vmem_tree *t, struct vmem_node *n)
{
	struct vmem_node *up = n->n_parent;
	unsigned i;

	if (n->n_count == 0) {
		if (up == NULL) {
			t->t_root = NULL;
		} else {
			inner_remove(t, up, child_index(up, n));
		}
		node_drop(t, n);
		return;
	}
	if (up == NULL && n->n_count == 1) {
		root_shrink(t);
		return;
	}
	n->n_max = inner_max(n);
	if (t->t_bins != NULL)
		summary_up(n);
	if (up == NULL || n->n_count > VMEM_INNER / 4)
		return;
	i = child_index(up, n);
	if (i + 1u < up->n_count &&
	    n->n_count + up->i_child[i + 1]->n_count <= VMEM_INNER * 3 / 4)
		inner_merge(t, n, up->i_child[i + 1]);
	else if (i > 0 &&
	    n->n_count + up->i_child[i - 1]->n_count <= VMEM_INNER * 3 / 4)
		inner_merge(t, up->i_child[i - 1], n);
}

static void
leaf_drop(struct vmem_tree *t, struct vmem_node *leaf)
{
	struct vmem_node *up = leaf->n_parent;

	if (t->t_bins != NULL)
		bin_leave(t->t_bins, leaf);
	leaf_unchain(t, leaf);
	if (up == NULL)
		t->t_root = NULL;
	else
		inner_remove(t, up, child_index(up, leaf));
	node_drop(t, leaf);
}

static void
leaf_merge(struct vmem_tree *t, struct vmem_node *left, struct vmem_node *right)
{
	bool was_empty = left->n_count == 0;

	leaf_move(left, right, 0);
	if (was_empty)
		separator_raise(t, left, left->l_key[0], left->l_val[0]);
	vmem__tree_refresh(t, left);
	leaf_drop(t, right);
}

/*
 * A leaf looks at its neighbours only when three quarters of it are empty, and
 * merging leaves room for a quarter: neither costs anything on most frees, and
 * no pattern splits and merges in turns.
 */
void
vmem__tree_settle(struct vmem_tree *t, struct vmem_node *leaf)
{
	struct vmem_node *next = leaf->n_next;
	struct vmem_node *prev = leaf->n_prev;

	if (leaf->n_count == 0) {
		leaf_drop(t, leaf);
		return;
	}
	vmem__tree_refresh(t, leaf);
	if (leaf->n_count > VMEM_LEAF / 4)
		return;
	if (next != NULL && next->n_parent == leaf->n_parent &&
	    leaf->n_count + next->n_count <= VMEM_LEAF * 3 / 4)
		leaf_merge(t, leaf, next);
	else if (prev != NULL && prev->n_parent == leaf->n_parent &&
	    leaf->n_count + prev->n_count <= VMEM_LEAF * 3 / 4)
		leaf_merge(t, prev, leaf);
}

void
vmem__tree_clear(struct vmem_tree *t)
{
	struct vmem_node *n = t->t_root;

	while (n != NULL) {
		struct vmem_node *up;

		while (n->n_level != 0 && n->n_count > 0)
			n = n->i_child[n->n_count - 1];
		if (n->n_level == 0 && t->t_bins != NULL)
			bin_leave(t->t_bins, n);
		up = n->n_parent;
		node_drop(t, n);
		if (up != NULL)
			up->n_count--;
		n = up;
	}
	t->t_root = NULL;
	t->t_first = NULL;
	t->t_last = NULL;
	t->t_count = 0;
}
