/* vehicle/crypto.h: what a TCU's platform does with OpenSSL: a key pair, a request for a certificate, reading what comes back.
 *
 * Keys are P-256 in PKCS#8 DER, requests PKCS#10 DER, certificates X.509 DER: bytes the caller keeps, so that a fleet pays some 600 bytes
 * a vehicle and parses them only while it connects. Reads no clock and no files but those named. Thread-safe.
 */
#ifndef VEHICLE_CRYPTO_H
#define VEHICLE_CRYPTO_H

#include "base.h"

#define TCU_KEY_MAX         256 /* P-256 in PKCS#8: 138 */
#define TCU_REQUEST_MAX     1024
#define TCU_CERTIFICATE_MAX 4096

/* A fresh key pair and a request for `common_name` signed by it. Lengths come in as capacities. false: nothing usable was written. */
bool tcu_crypto_enroll(struct span common_name, uint8_t *key, size_t *key_length, uint8_t *request,
                       size_t *request_length);

/* The certificate broker's answer: certs-only PKCS#7 (base64 with or without line breaks, PEM, or DER), or a bare certificate. Writes the first
 * certificate that is no CA; when `key` is not empty, the first that belongs to the key. Returns its length, 0 if there is none. */
size_t tcu_crypto_certificate(struct span answer, struct span key, uint8_t *out, size_t capacity);

/* From a PEM or DER file to DER. 0: *error holds one line. */
size_t tcu_crypto_read_certificate(const char *path, uint8_t *out, size_t capacity, char *error, size_t error_capacity);
size_t tcu_crypto_read_key(const char *path, uint8_t *out, size_t capacity, char *error, size_t error_capacity);

/* Seconds since 1970. false: not a certificate. common_name may be NULL. */
bool tcu_crypto_validity(struct span certificate, int64_t *not_before_s, int64_t *not_after_s, char common_name[64]);
/* A private key in PEM or DER to DER. Returns its length, 0 if there is none without a passphrase. */
size_t tcu_crypto_key(struct span bytes, uint8_t *out, size_t capacity);
bool tcu_crypto_belongs(struct span certificate, struct span key);

/* A sealed command (its form: docs/commands.md): the cloud's public key (SubjectPublicKeyInfo, DER) and this vehicle's AES-256 key. Returns the length of
 * id(8) and name; 0: not of this form, not decryptable, or (*forged) not signed by that key. */
size_t tcu_crypto_unseal(struct span public_key, const uint8_t vehicle_key[32], struct span sealed, uint8_t *out,
                         size_t capacity, bool *forged);
/* Its keys from files: a public key on an elliptic curve (PEM or DER) to DER; 32 bytes, as they are or as 64 hexadecimal digits. 0, false: *error. */
size_t tcu_crypto_read_public_key(const char *path, uint8_t *out, size_t capacity, char *error, size_t error_capacity);
bool tcu_crypto_read_vehicle_key(const char *path, uint8_t out[32], char *error, size_t error_capacity);

/* Returns the length without the closing 0, which is written; 0: too little room. */
size_t tcu_crypto_base64(struct span bytes, char *out, size_t capacity);

#endif
