/*
 * umem_init.c - the list of start-up steps, and what fork needs.
 *
 * Start-up only calls down, and nothing that could call malloc.  It runs at the
 * first allocation, or when the library is loaded, whichever comes first.
 */
#include "umem/umem_class.h"
#include "umem/umem_impl.h"
#include "umem/umem_log.h"
#include "umem/umem_options.h"
#include "umem/umem_stats.h"

#include "base/panic.h"
#include "meta/meta.h"
#include "meta/pagemap.h"
#include "os/os.h"
#include "os/os_fork.h"
#include "os/os_trace.h"
#include "vmem/vmem_heap.h"
#include "vmem/vmem_private.h"

#include <quarry/quarry.h>

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/single_threaded.h>

static struct qr_mutex init_lock = QR_MUTEX_INIT(QR_RANK_INIT);
_Atomic bool umem__started;
static unsigned steps_done; /* init_lock */
static int stats_fd = 2;
static const char version[] = "1.0.0";

static bool
step_options(void)
{
	umem__options_read();
	vmem__set_default_policy((int)umem__opt.policy);
	umem__depot_set_max(umem__opt.depot_max);
	qr_mutex_tune(os_cpu_affinity());
	percpu_init((enum percpu_want)umem__opt.percpu);
	return (true);
}

static bool
step_heap(void)
{
	if (!vmem__heap_init())
		return (false);
	vmem__heap_set_idle_max(umem__opt.idle_max);
	vmem__qcache_register(&umem__qcache_ops);
	return (true);
}

static bool
step_debug(void)
{
	if (umem__opt.debug_verbose || (umem__opt.debug & UMF_AUDIT) != 0)
		os_trace_begin();
	if ((umem__opt.debug & UMF_CHECKSIGNAL) != 0)
		os_trace_signals();
	umem__log_init();
	if (umem__opt.mtbf != 0)
		umem_setmtbf((uint32_t)umem__opt.mtbf);
	return (true);
}

/*
 * What is printed at exit goes where stderr is now: many programs close theirs
 * before we are asked.
 */
static bool
step_stats(void)
{
	if (umem__opt.stats)
		stats_fd = fcntl(2, F_DUPFD_CLOEXEC, 64);
	return (true);
}

/* Each is tried again at the next request when memory was short. */
static bool (*const steps[])(void) = {
    step_options,
    pagemap_init,
    step_heap,
    step_debug,
    umem__classes_init,
    step_stats,
};

bool
umem__start(void)
{
	bool ok = true;

	umem__options_ask();
	qr_mutex_enter(&init_lock);
	while (steps_done < QR_ARRAY_LEN(steps) && ok) {
		ok = steps[steps_done]();
		steps_done += ok;
	}
	if (ok)
		atomic_store_explicit(
		    &umem__started, true, memory_order_release);
	qr_mutex_exit(&init_lock);
	return (ok);
}

/*
 * Around fork every lock is held, top floor first, so that the child finds all
 * of them free and everything they guard whole.  A process of one thread needs
 * none: if a handler of a signal forks, what it has interrupted may hold some.
 */
static void
fork_prepare(void)
{
	umem__exit_lock();
	if (__libc_single_threaded)
		return;
	qr_mutex_enter_nested(&init_lock);
	umem__class_lock();
	umem__cache_lock_all();
	percpu_lock_all();
	vmem__lock_all();
	vmem__heap_lock();
	meta_lock_all();
	umem__log_lock_all();
	qr_fork_begin();
}

static void
unlock_all(bool child)
{
	umem__log_unlock_all();
	meta_unlock_all();
	vmem__heap_unlock(child);
	vmem__unlock_all();
	percpu_unlock_all();
	umem__cache_unlock_all(child);
	umem__class_unlock();
	qr_mutex_exit(&init_lock);
}

static void
fork_done(bool child)
{
	if (qr_fork_here()) {
		qr_fork_end();
		if (child) {
			umem__update_forked();
			vmem__fork_child();
		}
		unlock_all(child);
	}
	umem__exit_unlock(child);
}

static QR_COLD void
announce(void)
{
	bool ours = umem__malloc_ours == NULL || umem__malloc_ours();

	qr_warn("version %s %s in %s, process %d, per-CPU form: %s", version,
	    ours ? "active" : "without its malloc", os_program(),
	    os_process_id(), percpu_form());
}

/*
 * Whoever answers to quarry_version() serves the process (CMakeLists.txt): behind
 * libquarry_malloc, libquarry has no callers, and so makes nothing.
 */
static QR_CONSTRUCTOR void
load(void)
{
	if (quarry_version() == version && umem__init() && umem__opt.verbose)
		announce();
	os_fork_handle(OS_FORK_UMEM, fork_prepare, fork_done);
}

/* The library stays usable after this: others may free later than we run. */
static QR_DESTRUCTOR void
unload(void)
{
	if (umem__opt.stats)
		(void)quarry_stats_write(stats_fd, "text");
}

static void *
heap_afunc(vmem_t *source, size_t size, int vmflag)
{
	(void)source;
	(void)vmflag;
	umem__tick(true);
	return (vmem__heap_alloc(size, vmem__heap_quantum));
}

static void
heap_ffunc(vmem_t *source, void *addr, size_t size)
{
	(void)source;
	(void)size;
	vmem__heap_free(addr);
	umem__tick(false);
}

vmem_t *
vmem_heap_arena(vmem_alloc_t **afuncp, vmem_free_t **ffuncp)
{
	if (!umem__init())
		return (NULL);
	if (afuncp != NULL)
		*afuncp = heap_afunc;
	if (ffuncp != NULL)
		*ffuncp = heap_ffunc;
	return (vmem__heap());
}

const char *
quarry_version(void)
{
	return (version);
}

quarry_panic_hook_t *
quarry_set_panic_hook(quarry_panic_hook_t *hook)
{
	return (qr_set_panic_hook(hook));
}

size_t
quarry_reap(void)
{
	return (umem__ready() ? umem__reap_all() : 0);
}
