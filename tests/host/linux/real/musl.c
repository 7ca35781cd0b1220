// A dynamic program: what musl's ld.so does for it, and for libraries that come later.
#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

int shared_value(int add);

static __thread int mine = 5;

static void *in_thread(void *unused) {
    mine += 2;
    printf("in the thread: %d, %d\n", mine, shared_value(1));
    return NULL;
}

int main(int count, char **arguments) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, in_thread, NULL) || pthread_join(thread, NULL)) return 1;
    printf("in main: %d, %d, %.4f\n", mine, shared_value(4), sin(count));
    void *library = dlopen("libplugin.so", RTLD_NOW);
    if (!library) return puts(dlerror()), 1;
    int (*plugin)(int) = (int (*)(int))dlsym(library, "plugin");
    printf("the plugin: %d, %d\n", plugin(3), dlsym(library, "nothing") == NULL);
    if (dlopen("none.so", RTLD_NOW)) return 1;
    puts(dlerror());
    return arguments[1] ? atoi(arguments[1]) : 0;
}
