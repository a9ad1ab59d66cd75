/*
 * cxx.cc - a C++17 program over every public header.
 */
#include <quarry/contigmalloc.h>
#include <quarry/quarry.h>
#include <quarry/umem.h>
#include <quarry/vmem.h>

#include <new>
#include <string>

namespace
{

MALLOC_DEFINE(M_WIDGET, "widget", "memory of widgets");

struct widget {
	std::string name;
};

int
widget_ctor(void *buf, void *, int)
{
	new (buf) widget{"a widget"};
	return 0;
}

void
widget_dtor(void *buf, void *)
{
	static_cast<widget *>(buf)->~widget();
}

} // namespace

int
main()
{
	umem_cache_t *cache = umem_cache_create("widget", sizeof(widget), 0,
	    widget_ctor, widget_dtor, nullptr, nullptr, nullptr, 0);
	auto *w =
	    static_cast<widget *>(umem_cache_alloc(cache, UMEM_DEFAULT));
	bool ok = w != nullptr && w->name == "a widget" &&
	    std::string(quarry_version()) == EXPECT_VERSION;

	void *p = contigmalloc(100, M_WIDGET, M_ZERO, 0, 1 << 22, 1, 0);

	ok = ok && p != nullptr && vtophys(p) == (1 << 22) - 4096;
	kfree(p, M_WIDGET);
	umem_cache_free(cache, w);
	umem_cache_destroy(cache);
	return ok ? 0 : 1;
}
