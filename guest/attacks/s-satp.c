/* attack: the kernel turns translation off, or uses page tables outside the root part of the PT area: its own memory,
 *         the other parts, an enclave's; then it tries the registers of machine mode
 * stopped by: TVM trap, privilege
 */
#include <string.h>

#include "supervisor.h"

#define SV39 (8UL << 60)

#define CSR(name)                                                                                                      \
    static __attribute__((noinline)) long set_##name(void)                                                             \
    {                                                                                                                  \
        register long cause __asm__("a0");                                                                             \
        __asm__ volatile(".option push\n .option norvc\n la t0, 9f\n csrw stvec, t0\n li t1, -1\n csrw " #name ", t1\n" \
                         "li a0, 0\n j 8f\n .balign 4\n 9: csrr a0, scause\n 8: .option pop\n"                          \
                         : "=r"(cause) : : "t0", "t1", "memory");                                                      \
        return cause;                                                                                                  \
    }
CSR(mstatus)
CSR(medeleg)
CSR(mtvec)
CSR(pmpcfg0)
CSR(pmpaddr0)
CSR(mcounteren)

int EAPP_ENTRY main()
{
    struct sv_info *info = sv_start();
    struct victim *enclave = &info->victim[ENCLAVE];

    memcpy((void *)info->free, (void *)info->root, 4096); /* one that would work as well */
    by_tvm(sv_write_satp(SV39 | info->free >> 12));
    by_tvm(sv_write_satp(0));
    by_tvm(sv_write_satp(SV39 | info->free_middle[0] >> 12));
    by_tvm(sv_write_satp(SV39 | info->free_leaf[0] >> 12));
    by_tvm(sv_write_satp(SV39 | (info->pt_area >> 12) - 1));
    by_tvm(sv_write_satp(SV39 | (enclave->block + 4096) >> 12));
    by_tvm(sv_write_satp(SV39 | 1UL << 44 | (enclave->block + 4096) >> 12)); /* with an enclave's ASID */
    by_tvm(sv_write_satp(SV39 | info->monitor >> 12));
    by_tvm(sv_write_satp(SV39 | (1UL << 44) - 1));
    for (uint64_t mode = 1; mode < 16; mode++)
        if (mode != 8)
            by_tvm(sv_write_satp(mode << 60 | info->root >> 12));
    sv_works(sv_write_satp(SV39 | info->root >> 12) == 0);
    sv_works(sv_fence() == 0);

    by_privilege(set_mstatus());
    by_privilege(set_medeleg());
    by_privilege(set_mtvec());
    by_privilege(set_pmpcfg0());
    by_privilege(set_pmpaddr0());
    by_privilege(set_mcounteren());
    sv_exit(0);
}
