/* Looks for a server that nobody has, says that it is there, and never ends. */
#include "eapp.h"
#include "print.h"

int EAPP_ENTRY main()
{
    acquire_enclave("spin");
    eapp_print("spinning\n");
    for (volatile int i = 0;; i++);
}
