/* vehicle/tcu.h: the reference TCU: the vehicle agent as a program, on Paho MQTT C, OpenSSL, libcurl and files.
 *
 * One TCU a process; tcu_run() owns the calling thread until it ends. Paho's threads never touch the agent: what they
 * learn is queued for this one. */
#ifndef VEHICLE_TCU_H
#define VEHICLE_TCU_H

#include "vehicle/agent.h"

struct tcu_run_options {
    const char *broker;                                    /* mqtt://HOST[:PORT] or mqtts://HOST[:PORT] */
    const char *certificate_broker;                        /* https://HOST:PORT; NULL: no provisioning */
    const char *ca_file;                                   /* for both; NULL: the system's */
    const char *name;                                      /* thing name and client id, at most TCU_NAME_MAX bytes */
    const char *attestation_certificate, *attestation_key; /* PEM files; for the certificate broker */
    /* PEM files; instead of the certificate broker: an identity is claimed from the broker with them. NULL: not. */
    const char *claim_certificate, *claim_key;
    /* A PKCS#11 token ("pkcs11:token=NAME") in which the keys of operational identities are made, and which they never leave. The two keys
     * above may then be NULL: the token has them. NULL: keys are in the store. */
    const char *token;
    const char *token_module; /* its shared library; NULL: PKCS11_MODULE_PATH of the environment, or p11-kit's proxy */
    const char *pin_file;     /* first line: the user's PIN; NULL: the token asks for none */
    const char *reserved; /* prefix of jobs and provisioning, '%' for the name: "$aws/", "convoy/%/"; NULL: no jobs */
    const char *device;   /* serial number its maker gave the TCU; NULL: the name */
    /* Files; both or neither. The cloud's public key (PEM or DER) and this vehicle's own (32 bytes, or 64 hexadecimal digits): only sealed commands
     * are taken. NULL: plain ones. */
    const char *command_key, *vehicle_key;
    const char *store_directory;      /* made when missing */
    const char *user_name, *password; /* NULL: none */
    uint16_t keep_alive_s;
    int64_t period_us;   /* between telemetry messages; 0: none */
    int64_t duration_us; /* 0: until stop_fd */
    bool driving;
    int stop_fd; /* readable: shut down; -1: none */
    /* Each probe of the agent as it happens; detail: what is known beyond it (why a connection failed, which command), or "". */
    void (*report)(void *context, int64_t now_us, const struct tcu_probe *probe, const char *detail);
    void *context;
};

/* false: it could not begin; *error has one line. */
bool tcu_run(const struct tcu_run_options *options, char *error, size_t error_capacity);

/* The maker's part, for a TCU with a token: makes the key of its attestation identity there, instead of an earlier one of this name, and a
 * request for a certificate (PKCS#10, DER) signed by it. Returns the length; 0: *error has one line. */
size_t tcu_token_attestation(const struct tcu_run_options *options, uint8_t *request, size_t capacity, char *error,
                             size_t error_capacity);

/* DER as PEM text, closed by 0. Returns the length, 0 if there is too little room. */
size_t tcu_pem(const char *label, struct span der, char *out, size_t capacity);
/* Replaces the file as a whole (written beside it, synced, renamed), mode 0600; durable when it returns. false: errno. */
bool tcu_file_replace(const char *directory, const char *file, struct span content);

#endif
