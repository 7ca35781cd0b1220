/* An enclave of 1 MiB, all of which counts for its measurement. */
#include "eapp.h"

static const unsigned char content[1 << 20] = {[0 ... (1 << 20) - 1] = 0x5a};

int EAPP_ENTRY main()
{
    volatile unsigned long at = 0; /* so that no byte can be left out */
    EAPP_RETURN(content[at]);
}
