/* packed.c: modelled certificates in 24 bytes each. The name is the holder's, the issuer's id the hierarchy's; the rest is numbers. */
#include "identity_internal.h"

#define ISSUER_BITS  4
#define ISSUER_IS_CA 8u

_Static_assert(sizeof(struct cloud_modelled_record) == 24, "bytes per vehicle");
_Static_assert(CLOUD_CA_COUNT <= ISSUER_IS_CA, "the issuer fits beside the serial");

static int issuer_of(const struct cloud_pki *pki, const uint8_t id[32])
{
    for (int i = 0; i < CLOUD_CA_COUNT; i++)
        if (memcmp(pki->ca[i].certificate.id, id, 32) == 0)
            return i;
    return -1;
}

static bool rebuild(const struct cloud_pki *pki, const struct cloud_modelled_record *record, struct span common_name,
                    struct cloud_certificate *out)
{
    unsigned issuer = (unsigned)record->serial_and_issuer & (ISSUER_IS_CA - 1);
    if (!pki->modelled || issuer >= CLOUD_CA_COUNT || !modelled_name_valid(common_name))
        return false;
    memset(out, 0, sizeof(*out));
    out->serial = record->serial_and_issuer >> ISSUER_BITS;
    memcpy(out->issuer_id, pki->ca[issuer].certificate.id, 32);
    memcpy(out->common_name, common_name.data, common_name.length);
    out->not_before_s = record->not_before_s;
    out->not_after_s = record->not_after_s;
    out->is_ca = record->serial_and_issuer & ISSUER_IS_CA;
    return true;
}

/* Written again and compared: a text our own writer would not have made (a number with leading zeros) is not packed. */
bool cloud_modelled_pack(const struct cloud_pki *pki, struct span certificate, struct cloud_modelled_record *out)
{
    struct cloud_certificate c;
    uint8_t again[MODELLED_BYTES_MAX];
    if (!pki->modelled || !modelled_parse(certificate, &c))
        return false;
    int issuer = issuer_of(pki, c.issuer_id);
    if (issuer < 0 || c.serial >> (64 - ISSUER_BITS) || c.not_before_s > UINT32_MAX || c.not_after_s > UINT32_MAX)
        return false;
    struct cloud_modelled_record record = {
        .serial_and_issuer = c.serial << ISSUER_BITS | (c.is_ca ? ISSUER_IS_CA : 0) | (unsigned)issuer,
        .key = modelled_key(&c),
        .not_before_s = (uint32_t)c.not_before_s,
        .not_after_s = (uint32_t)c.not_after_s,
    };
    size_t length = cloud_modelled_unpack(pki, &record, span_text(c.common_name), again, sizeof(again));
    if (!span_equal(span_of(again, length), certificate))
        return false;
    *out = record;
    return true;
}

size_t cloud_modelled_unpack(const struct cloud_pki *pki, const struct cloud_modelled_record *record,
                             struct span common_name, uint8_t *out, size_t capacity)
{
    struct cloud_certificate c;
    return rebuild(pki, record, common_name, &c) ? modelled_write(&c, record->key, out, capacity) : 0;
}

bool cloud_modelled_describe(const struct cloud_pki *pki, const struct cloud_modelled_record *record,
                             struct span common_name, struct cloud_certificate *out)
{
    uint8_t bytes[MODELLED_BYTES_MAX];
    if (!rebuild(pki, record, common_name, out))
        return false;
    size_t length = modelled_write(out, record->key, bytes, sizeof(bytes));
    modelled_set_key(out, record->key);
    identity_sha256(bytes, length, out->id);
    return true;
}
