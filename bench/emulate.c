// A library to preload before bochscpu-python 0.4.0 (see emulate.py). It gives the
// emulated processor the features of Sapphire Rapids, among them AVX512_BF16, in place
// of those of its default; and stands in for two functions of newer C libraries, so that
// the package loads with older ones.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

unsigned long long __isoc23_strtoull(const char *s, char **end, int base) { return strtoull(s, end, base); }

int __isoc23_sscanf(const char *s, const char *format, ...) {
	va_list args;
	va_start(args, format);
	int n = vsscanf(s, format, args);
	va_end(args);
	return n;
}

// sapphire_rapids calls the package's own maker of that model; from is an address in the
// package.
static void *sapphire_rapids(void *cpu, void *from) {
	Dl_info info;
	if (!dladdr(from, &info))
		abort();
	void *library = dlopen(info.dli_fname, RTLD_NOLOAD | RTLD_LAZY);
	void *(*make)(void *) = library ? dlsym(library, "_Z28create_sapphire_rapids_cpuidP8BX_CPU_C") : NULL;
	if (!make)
		abort();
	return make(cpu);
}

// The package's default model, a Cannon Lake.
void *_Z23create_corei3_cnl_cpuidP8BX_CPU_C(void *cpu) { return sapphire_rapids(cpu, __builtin_return_address(0)); }
