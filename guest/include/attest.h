/* The attestation report, as the monitor writes it: ABI section 8. get_report() is declared in eapp.h. */
#ifndef PLTVM_ATTEST_H
#define PLTVM_ATTEST_H

#define HASH_SIZE 32
#define SIGNATURE_SIZE 64
#define PUBLIC_KEY_SIZE 64

struct sm_report_t {
    unsigned char hash[HASH_SIZE];
    unsigned char signature[SIGNATURE_SIZE];
    unsigned char sm_pub_key[PUBLIC_KEY_SIZE];
};

struct enclave_report_t {
    unsigned char hash[HASH_SIZE];
    unsigned char signature[SIGNATURE_SIZE];
    unsigned long nonce;
};

struct report_t {
    struct sm_report_t sm;
    struct enclave_report_t enclave;
    unsigned char dev_pub_key[PUBLIC_KEY_SIZE];
};

#endif
