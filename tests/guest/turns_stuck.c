/* A server that nobody comes back from. */
#include "eapp.h"

int EAPP_ENTRY main()
{
    for (;;)
        eapp_yield();
}
