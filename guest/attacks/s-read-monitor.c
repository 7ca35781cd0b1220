/* attack: the kernel reads and writes the monitor's memory, the page bitmap and the PT area, directly.
 * stopped by: PMP. It may read the PT area.
 */
#include "supervisor.h"

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct sv_info *info = (struct sv_info *)args[10];
    uint64_t value = 0;

    if (sv_load(info->monitor, &value) != CAUSE_LOAD_ACCESS) sv_exit(1);
    if (sv_store(info->monitor + 4096, 1) != CAUSE_STORE_ACCESS) sv_exit(2);
    if (sv_load(info->bitmap, &value) != CAUSE_LOAD_ACCESS) sv_exit(3);
    if (sv_store(info->bitmap + 8, 0) != CAUSE_STORE_ACCESS) sv_exit(4);
    if (sv_store(info->pt_area, 0) != CAUSE_STORE_ACCESS) sv_exit(5);
    if (sv_load(info->pt_area, &value) != 0) sv_exit(6);
    sv_exit(0);
}
