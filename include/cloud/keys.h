/* cloud/keys.h: the key service (a mock of a KMS): seals commands so that only their vehicle can read them and nobody else can have made them.
 *
 * Sealed form, big-endian, fits an SMS for names of up to 24 bytes:
 *   "CV" 0x01 flags(1) sequence(8) expires(4, seconds since 1970) ciphertext(n) tag(16) signature(64)
 * Plain text: id(8) name. AES-256-GCM under the vehicle's own key, the nonce is the sequence in 12 bytes, everything before the ciphertext is authenticated;
 * ECDSA P-256 over SHA-256 of all before it, r and s of 32 bytes each. The sequence of a vehicle only grows: a vehicle takes none twice and none
 * below its window. The same command sent again (another path, an SMS repeated) is the same bytes.
 * Modelled: the same form and lengths, with a keyed hash instead of cipher and signature; costs no cryptography and is the same in every run.
 */
#ifndef CLOUD_KEYS_H
#define CLOUD_KEYS_H

#include "base.h"

#define CLOUD_SEALED_OVERHEAD 104 /* beyond the name's bytes */
#define CLOUD_SEALED_MAX      (CLOUD_SEALED_OVERHEAD + 48)
#define CLOUD_VEHICLE_KEY     32

struct cloud_keys;
struct cloud_keys *cloud_keys_modelled(uint64_t seed);
/* P-256 private key in PKCS#8 DER or PEM; empty: a fresh one. master: from which vehicles' keys are derived (HKDF over the thing name). NULL: *error. */
struct cloud_keys *cloud_keys_real(struct span private_key, const uint8_t master[32], char *error,
                                   size_t error_capacity);
void cloud_keys_destroy(struct cloud_keys *keys);
/* Sequences begin at `first` (1 if not said) for things that have none yet. A service opened again with the same master must begin above all it has
 * given before (microseconds since 1970 do): a vehicle refuses the others, and a nonce must not come twice under one key. */
void cloud_keys_begin(struct cloud_keys *keys, uint64_t first);
/* The thing's go on at `next`, if they are not there yet: how a forger comes behind what he has seen. */
void cloud_keys_reach(struct cloud_keys *keys, struct span thing, uint64_t next);
/* What the factory puts into the vehicle. */
void cloud_keys_vehicle(const struct cloud_keys *keys, struct span thing, uint8_t out[CLOUD_VEHICLE_KEY]);
size_t cloud_keys_public(const struct cloud_keys *keys, uint8_t *out,
                         size_t capacity); /* SubjectPublicKeyInfo, DER; modelled: 32 bytes */
/* The next sequence number of the thing is taken. Returns the length, 0: too little room, or it cannot be done. */
size_t cloud_keys_seal(struct cloud_keys *keys, struct span thing, uint64_t id, struct span name, uint32_t expires_s,
                       uint8_t *out, size_t capacity);
/* The vehicle's part, modelled (the real one is vehicle/crypto.h's): as struct tcu_port.unseal wants it. 0: refused, *forged: the signature is not the key's.
 * forged NULL: the signature is not looked at, which is what no vehicle must do (a fault). */
size_t cloud_keys_modelled_unseal(struct span public_key, const uint8_t vehicle_key[CLOUD_VEHICLE_KEY],
                                  struct span sealed, uint8_t *out, size_t capacity, bool *forged);
/* What somebody can make who knows the vehicle's key and not the cloud's: modelled, all right but for the signature. 0: too little room. */
size_t cloud_keys_modelled_forge(const uint8_t vehicle_key[CLOUD_VEHICLE_KEY], uint64_t sequence, uint64_t id,
                                 struct span name, uint32_t expires_s, uint8_t *out, size_t capacity);
uint64_t cloud_keys_bytes(const struct cloud_keys *keys);

#endif
