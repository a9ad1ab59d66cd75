/*
 * os_module.c - reading /proc/self/maps, and the headers of what is mapped.
 */
#include "os/os_module.h"

#include "base/bits.h"
#include "base/compiler.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK = 512, LINE = OS_MODULE_PATH + 128 };

/* A file that is read line by line, through a small window. */
struct lines {
	int ls_fd;
	size_t ls_at, ls_len; /* of ls_buf, what was read and not yet used */
	char ls_buf[CHUNK];
};

static int
next_char(struct lines *ls)
{
	while (ls->ls_at == ls->ls_len) {
		ssize_t n = read(ls->ls_fd, ls->ls_buf, sizeof(ls->ls_buf));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return (-1);
		ls->ls_at = 0;
		ls->ls_len = (size_t)n;
	}
	return ((unsigned char)ls->ls_buf[ls->ls_at++]);
}

/* The next line, without its end, cut off at size - 1; false at the end. */
static bool
next_line(struct lines *ls, char *line, size_t size)
{
	size_t len = 0;
	int c = next_char(ls);

	if (c < 0)
		return (false);
	for (; c >= 0 && c != '\n'; c = next_char(ls)) {
		if (len < size - 1)
			line[len++] = (char)c;
	}
	line[len] = '\0';
	return (true);
}

/* Hexadecimal digits at *s, which moves past them and the one behind. */
static uintptr_t
next_hex(const char **s)
{
	uintptr_t n = 0;

	for (;; (*s)++) {
		if (**s >= '0' && **s <= '9')
			n = n << 4 | (uintptr_t)(**s - '0');
		else if (**s >= 'a' && **s <= 'f')
			n = n << 4 | (uintptr_t)(**s - 'a' + 10);
		else
			break;
	}
	*s += **s != '\0';
	return (n);
}

/* "START-END PERM OFFSET DEVICE INODE   PATH" */
struct mapping {
	uintptr_t ma_start, ma_end, ma_offset;
	bool ma_read, ma_code;
	const char *ma_path; /* "" when there is none */
};

static void
parse_mapping(const char *line, struct mapping *ma)
{
	const char *s = line;

	*ma = (struct mapping){0};
	ma->ma_start = next_hex(&s);
	ma->ma_end = next_hex(&s);
	ma->ma_read = s[0] == 'r';
	ma->ma_code = strnlen(s, 3) == 3 && s[2] == 'x';
	s += strcspn(s, " ");
	s += strspn(s, " ");
	ma->ma_offset = next_hex(&s);
	for (int field = 0; field < 2; field++) {
		s += strspn(s, " ");
		s += strcspn(s, " ");
	}
	s += strspn(s, " ");
	ma->ma_path = s;
}

/* ---- the headers in [base, end), the first mapping of a file ---- */

static void
note_find(struct os_module *om, const char *note, const char *end)
{
	while ((size_t)(end - note) > sizeof(Elf64_Nhdr)) {
		const Elf64_Nhdr *nh = (const void *)note;
		const char *name = note + sizeof(*nh);
		size_t len = qr_roundup(nh->n_namesz, 4);
		const char *desc = name + len;

		len += qr_roundup(nh->n_descsz, 4);
		if (len > (size_t)(end - name))
			return;
		if (nh->n_type == NT_GNU_BUILD_ID && nh->n_namesz == 4 &&
		    memcmp(name, "GNU", 4) == 0) {
			om->om_idlen =
			    (unsigned)qr_min(nh->n_descsz, OS_MODULE_ID);
			memcpy(om->om_id, desc, om->om_idlen);
			return;
		}
		note = name + len;
	}
}

/* Where is the file loaded: the address of its offset 0, as linked. */
static void
headers_read(struct os_module *om, uintptr_t base, uintptr_t end)
{
	const Elf64_Ehdr *eh = (const void *)base;
	const Elf64_Phdr *ph = (const void *)(base + sizeof(*eh));
	uintptr_t linked = 0;

	if (end - base < sizeof(*eh) ||
	    memcmp(eh->e_ident, ELFMAG, SELFMAG) != 0 ||
	    eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_phoff != sizeof(*eh) ||
	    eh->e_phentsize != sizeof(*ph) ||
	    eh->e_phnum > (end - base - sizeof(*eh)) / sizeof(*ph))
		return;
	for (unsigned i = 0; i < eh->e_phnum; i++) {
		if (ph[i].p_type == PT_LOAD && ph[i].p_offset == 0 &&
		    ph[i].p_filesz != 0)
			linked = ph[i].p_vaddr;
	}
	om->om_offset += linked;
	for (unsigned i = 0; i < eh->e_phnum && om->om_idlen == 0; i++) {
		uintptr_t at = ph[i].p_vaddr - linked;

		if (ph[i].p_type == PT_NOTE && at < end - base &&
		    ph[i].p_filesz <= end - base - at)
			note_find(om, (const char *)base + at,
			    (const char *)base + at + ph[i].p_filesz);
	}
}

/* ---- looking it up ---- */

static void
lines_open(struct lines *ls)
{
	memset(ls, 0, sizeof(*ls));
	ls->ls_fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
}

/* The next mapping, told from `line`; false at the end. */
static bool
next_mapping(struct lines *ls, char line[LINE], struct mapping *ma)
{
	if (ls->ls_fd < 0 || !next_line(ls, line, LINE))
		return (false);
	parse_mapping(line, ma);
	return (true);
}

static void
lines_close(struct lines *ls)
{
	if (ls->ls_fd >= 0)
		(void)close(ls->ls_fd);
}

static bool
maps(const struct mapping *ma, uintptr_t addr)
{
	return (addr >= ma->ma_start && addr < ma->ma_end);
}

bool
os_mapping_find(uintptr_t addr, uintptr_t *start, uintptr_t *end)
{
	char line[LINE] = {0};
	struct lines ls;
	struct mapping ma;
	bool found = false;
	int saved = errno;

	lines_open(&ls);
	while (!found && next_mapping(&ls, line, &ma))
		found = maps(&ma, addr);
	lines_close(&ls);
	if (found) {
		*start = ma.ma_start;
		*end = ma.ma_end;
	}
	errno = saved;
	return (found && ma.ma_read);
}

/*
 * Files begin with their headers, in a mapping of offset 0, and may have zeros,
 * which are of no file, between their segments.
 */
bool
os_module_find(uintptr_t pc, struct os_module *om)
{
	uintptr_t base = 0, end = 0;
	char line[LINE] = {0};
	struct lines ls;
	struct mapping ma;
	bool found = false;
	int saved = errno;

	memset(om, 0, sizeof(*om));
	lines_open(&ls);
	om->om_unknown = ls.ls_fd < 0;
	while (!found && next_mapping(&ls, line, &ma)) {
		found = maps(&ma, pc);
		if (ma.ma_path[0] == '\0' && !found)
			continue;
		if (ma.ma_offset == 0 ||
		    strncmp(ma.ma_path, om->om_path, OS_MODULE_PATH - 1) != 0) {
			base = ma.ma_start;
			end = ma.ma_read ? ma.ma_end : base;
			om->om_path[0] = '\0';
			strncat(om->om_path, ma.ma_path, OS_MODULE_PATH - 1);
		}
	}
	lines_close(&ls);
	if (found && ma.ma_code) {
		om->om_offset = pc - base;
		om->om_start = base;
		om->om_end = ma.ma_end;
		headers_read(om, base, end);
	}
	errno = saved;
	return (found && ma.ma_code);
}
