/* modelled.c: certificates without mathematics: the fields and the rules of X.509 in one line of text.
 *
 *   certificate  CVC1|<serial, 16 hex>|<issuer id, 64 hex>|<common name>|<not before>|<not after>|<key, 16 hex>|<C for a CA, E for an end>
 *   request      CVR1|<common name>|<key, 16 hex>
 *
 * What is not modelled: signatures. Whoever writes an issuer's id into a certificate has been issued it; nobody in a simulation does.
 * A fleet of a million provisions through here, so nothing below uses printf or allocates.
 */
#include "identity_internal.h"

struct writer {
    uint8_t *out;
    size_t at, capacity;
};

static void put(struct writer *w, const void *data, size_t length)
{
    if (w->at + length <= w->capacity)
        memcpy(w->out + w->at, data, length);
    w->at += length;
}

static void put_hex64(struct writer *w, uint64_t value)
{
    char text[16];
    for (int i = 0; i < 16; i++)
        text[i] = "0123456789abcdef"[value >> (60 - 4 * i) & 15];
    put(w, text, sizeof(text));
}

static void put_decimal(struct writer *w, int64_t value)
{
    char text[21];
    size_t at = sizeof(text);
    uint64_t rest = value < 0 ? 0 : (uint64_t)value;
    do {
        text[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    put(w, text + at, sizeof(text) - at);
}

static uint64_t load_be64(const uint8_t *bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | bytes[i];
    return value;
}

static void store_be64(uint8_t *bytes, uint64_t value)
{
    for (int i = 7; i >= 0; i--, value >>= 8)
        bytes[i] = (uint8_t)value;
}

static bool name_valid(struct span name)
{
    if (name.length == 0 || name.length >= sizeof(((struct cloud_certificate *)0)->common_name))
        return false;
    for (uint32_t i = 0; i < name.length; i++)
        if (name.data[i] < 0x20 || name.data[i] == '|' || name.data[i] == 0x7f)
            return false;
    return true;
}

static size_t write_certificate(const struct cloud_certificate *c, uint64_t key, uint8_t *out, size_t capacity)
{
    struct writer w = {out, 0, capacity};
    put(&w, "CVC1|", 5);
    put_hex64(&w, c->serial);
    put(&w, "|", 1);
    for (int i = 0; i < 4; i++)
        put_hex64(&w, load_be64(c->issuer_id + 8 * i));
    put(&w, "|", 1);
    put(&w, c->common_name, strlen(c->common_name));
    put(&w, "|", 1);
    put_decimal(&w, c->not_before_s);
    put(&w, "|", 1);
    put_decimal(&w, c->not_after_s);
    put(&w, "|", 1);
    put_hex64(&w, key);
    put(&w, c->is_ca ? "|C" : "|E", 2);
    return w.at <= capacity ? w.at : 0;
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

struct reader {
    const uint8_t *at, *end;
    bool failed;
};

static struct span field(struct reader *r)
{
    const uint8_t *bar = r->at < r->end ? memchr(r->at, '|', (size_t)(r->end - r->at)) : NULL;
    const uint8_t *stop = bar ? bar : r->end;
    struct span out = span_of(r->at, (size_t)(stop - r->at));
    if (out.length == 0)
        r->failed = true;
    r->at = bar ? bar + 1 : r->end;
    return out;
}

static uint64_t read_hex64(struct reader *r, struct span text)
{
    uint64_t value = 0;
    if (text.length != 16)
        r->failed = true;
    for (uint32_t i = 0; i < text.length && !r->failed; i++) {
        uint8_t c = text.data[i];
        if (c >= '0' && c <= '9')
            value = value << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value << 4 | (uint64_t)(c - 'a' + 10);
        else
            r->failed = true;
    }
    return value;
}

static int64_t read_decimal(struct reader *r, struct span text)
{
    int64_t value = 0;
    if (text.length > 18)
        r->failed = true;
    for (uint32_t i = 0; i < text.length && !r->failed; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            r->failed = true;
        value = value * 10 + (text.data[i] - '0');
    }
    return value;
}

bool modelled_read(struct span bytes, struct cloud_certificate *out)
{
    if (bytes.length < 5 || memcmp(bytes.data, "CVC1|", 5) != 0)
        return false;
    struct reader r = {bytes.data + 5, bytes.data + bytes.length, false};
    memset(out, 0, sizeof(*out));
    out->serial = read_hex64(&r, field(&r));
    struct span issuer = field(&r);
    if (issuer.length != 64)
        return false;
    for (uint32_t i = 0; i < 4; i++)
        store_be64(out->issuer_id + 8 * i, read_hex64(&r, span_of(issuer.data + 16 * i, 16)));
    struct span name = field(&r);
    if (!name_valid(name))
        return false;
    memcpy(out->common_name, name.data, name.length);
    out->not_before_s = read_decimal(&r, field(&r));
    out->not_after_s = read_decimal(&r, field(&r));
    store_be64(out->key_id, read_hex64(&r, field(&r)));
    struct span kind = field(&r);
    if (r.failed || r.at != r.end || kind.length != 1 || (kind.data[0] != 'C' && kind.data[0] != 'E'))
        return false;
    out->is_ca = kind.data[0] == 'C';
    identity_sha256(bytes.data, bytes.length, out->id);
    return true;
}

static bool read_request(struct span bytes, struct span *name, uint64_t *key)
{
    if (bytes.length < 5 || memcmp(bytes.data, "CVR1|", 5) != 0)
        return false;
    struct reader r = {bytes.data + 5, bytes.data + bytes.length, false};
    *name = field(&r);
    *key = read_hex64(&r, field(&r));
    return !r.failed && r.at == r.end && name_valid(*name);
}

/* ---- making ------------------------------------------------------------------------------------------------------- */

size_t cloud_modelled_csr(struct span common_name, uint64_t key_number, uint8_t *out, size_t capacity)
{
    if (!name_valid(common_name))
        return 0;
    struct writer w = {out, 0, capacity};
    put(&w, "CVR1|", 5);
    put(&w, common_name.data, common_name.length);
    put(&w, "|", 1);
    put_hex64(&w, key_number);
    return w.at <= capacity ? w.at : 0;
}

size_t modelled_issue(struct cloud_pki *pki, enum cloud_ca ca, struct span csr, const char *common_name, int64_t now_s,
                      int64_t lifetime_s, uint8_t *out, size_t capacity)
{
    struct span name;
    uint64_t key;
    if (!read_request(csr, &name, &key) || lifetime_s <= 0)
        return 0;
    if (common_name && !span_equal(name, span_text(common_name)))
        return 0;
    struct cloud_certificate c = {
        .serial = ++pki->next_serial, .not_before_s = now_s, .not_after_s = now_s + lifetime_s};
    memcpy(c.issuer_id, pki->ca[ca].certificate.id, 32);
    memcpy(c.common_name, name.data, name.length);
    return write_certificate(&c, key, out, capacity);
}

void modelled_hierarchy(struct cloud_pki *pki)
{
    for (int i = 0; i < CLOUD_CA_COUNT; i++) {
        struct pki_ca *ca = &pki->ca[i];
        struct cloud_certificate c = {.serial = (uint64_t)i + 1, .is_ca = true};
        c.not_before_s = IDENTITY_CA_NOT_BEFORE_S;
        c.not_after_s = IDENTITY_CA_NOT_AFTER_S;
        strcpy(c.common_name, identity_ca_name[i]);
        if (i != CLOUD_CA_ROOT)
            memcpy(c.issuer_id, pki->ca[CLOUD_CA_ROOT].certificate.id, 32);
        /* The seed is the key: two hierarchies of different seeds have different ids. */
        ca->length =
            write_certificate(&c, pki->seed * UINT64_C(0x9E3779B97F4A7C15) + (uint64_t)i, ca->bytes, sizeof(ca->bytes));
        ASSERT(modelled_read(span_of(ca->bytes, ca->length), &ca->certificate));
    }
    pki->next_serial = UINT64_C(1000);
}
