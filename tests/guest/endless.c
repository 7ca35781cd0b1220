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
    case 'r': eapp_mmap(0, 96 << 20); for (;;) get_report(0, &report, 1); /* long each time */
    case 'k': for (;;) eapp_derive_key(EAPP_ENCLAVE_KEY, key, sizeof key); /* with a large stack the first one */
    case 'K': if (eapp_derive_key(EAPP_ENCLAVE_KEY, key, sizeof key)) EAPP_RETURN(1); break;
    case 'c': call_enclave(acquire_enclave("endless"), &arg); break;
    case 'd': for (;;) get_report("endless", &report, 1);
    default: for (volatile int i = 0;; i++);
    }
    EAPP_RETURN(7);
}
