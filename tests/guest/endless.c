/* Never ends, in the way that the letter behind MODE= says; tests put it into the ELF. */
#include "attest.h"
#include "eapp.h"
#include "print.h"

static volatile char mode[8] = "MODE=?";

int EAPP_ENTRY main()
{
    unsigned char key[32];
    struct report_t report;
    struct call_enclave_arg_t arg = {0};

    if (get_caller_id() == -1) eapp_print("ready\n");
    switch (mode[5]) {
    case 'y': for (;;) eapp_yield();
    case 'p': for (;;) eapp_print("more\n");
    case 'w': for (;;) asm volatile("wfi");
    case 'n': for (;;) get_enclave_id();
    case 'e': for (;;) eapp_return_relay_page();
    case 'r': eapp_mmap(0, 96 << 20); get_report(0, &report, 1); break; /* minutes in Python */
    case 'k': eapp_derive_key(EAPP_ENCLAVE_KEY, key, sizeof key); break; /* with a large stack likewise */
    case 'c': call_enclave(acquire_enclave("endless"), &arg); break;
    case 'd': get_report("endless", &report, 1); break;
    default: for (volatile int i = 0;; i++);
    }
    EAPP_RETURN(7);
}
