/* The smallest enclave: it prints a line and exits. */
#include "eapp.h"
#include "print.h"

int EAPP_ENTRY main()
{
    eapp_print("hello world\n");
    EAPP_RETURN(0);
}
