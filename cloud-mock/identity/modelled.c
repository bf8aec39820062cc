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

/* Eight digits at a time: a nibble a byte, then '0' + nibble, and 39 more where the nibble is above nine. */
static uint64_t hex32(uint32_t value)
{
    uint64_t x = value;
    x = (x | x << 16) & UINT64_C(0x0000ffff0000ffff);
    x = (x | x << 8) & UINT64_C(0x00ff00ff00ff00ff);
    x = (x | x << 4) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    uint64_t letters = (x + UINT64_C(0x0606060606060606)) >> 4 & UINT64_C(0x0101010101010101);
    return __builtin_bswap64(x + UINT64_C(0x3030303030303030) + letters * ('a' - '0' - 10));
}

static void put_hex64(struct writer *w, uint64_t value)
{
    uint64_t text[2] = {hex32((uint32_t)(value >> 32)), hex32((uint32_t)value)};
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

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "hexadecimal text is written and read by the word");

static uint64_t load_word(const uint8_t *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, sizeof(value));
    return value;
}

static uint64_t load_be64(const uint8_t *bytes)
{
    return __builtin_bswap64(load_word(bytes));
}

static void store_be64(uint8_t *bytes, uint64_t value)
{
    value = __builtin_bswap64(value);
    memcpy(bytes, &value, sizeof(value));
}

uint64_t modelled_key(const struct cloud_certificate *c)
{
    return load_be64(c->key_id);
}

void modelled_set_key(struct cloud_certificate *c, uint64_t key)
{
    store_be64(c->key_id, key);
}

bool modelled_name_valid(struct span name)
{
    if (name.length == 0 || name.length >= sizeof(((struct cloud_certificate *)0)->common_name))
        return false;
    for (uint32_t i = 0; i < name.length; i++)
        if (name.data[i] < 0x20 || name.data[i] == '|' || name.data[i] == 0x7f)
            return false;
    return true;
}

size_t modelled_write(const struct cloud_certificate *c, uint64_t key, uint8_t *out, size_t capacity)
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

/* Eight digits at a time; false: one of them is none, or not in lower case. Each byte is below 0x80 before a sum of two is taken, so no
 * carry reaches a neighbour: a digit has bit 7 set after adding 0x80 - '0' and not after adding 0x80 - ('9' + 1), a letter likewise. */
static bool unhex32(uint64_t text, uint32_t *value)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), high = ones << 7;
    if (text & high)
        return false;
    uint64_t digit = (text + ones * (0x80 - '0')) & ~(text + ones * (0x80 - '9' - 1)) & high;
    uint64_t letter = (text + ones * (0x80 - 'a')) & ~(text + ones * (0x80 - 'f' - 1)) & high;
    if ((digit | letter) != high)
        return false;
    uint64_t x = __builtin_bswap64((text & (ones * 15)) + (letter >> 7) * 9);
    x = (x | x >> 4) & UINT64_C(0x00ff00ff00ff00ff);
    x = (x | x >> 8) & UINT64_C(0x0000ffff0000ffff);
    *value = (uint32_t)(x | x >> 16);
    return true;
}

static uint64_t read_hex64(struct reader *r, struct span text)
{
    uint32_t upper = 0, lower = 0;
    if (text.length != 16 || !unhex32(load_word(text.data), &upper) || !unhex32(load_word(text.data + 8), &lower))
        r->failed = true;
    return (uint64_t)upper << 32 | lower;
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

bool modelled_parse(struct span bytes, struct cloud_certificate *out)
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
    if (!modelled_name_valid(name))
        return false;
    memcpy(out->common_name, name.data, name.length);
    out->not_before_s = read_decimal(&r, field(&r));
    out->not_after_s = read_decimal(&r, field(&r));
    modelled_set_key(out, read_hex64(&r, field(&r)));
    struct span kind = field(&r);
    if (r.failed || r.at != r.end || kind.length != 1 || (kind.data[0] != 'C' && kind.data[0] != 'E'))
        return false;
    out->is_ca = kind.data[0] == 'C';
    return true;
}

bool modelled_read(struct span bytes, struct cloud_certificate *out)
{
    if (!modelled_parse(bytes, out))
        return false;
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
    return !r.failed && r.at == r.end && modelled_name_valid(*name);
}

/* ---- making ------------------------------------------------------------------------------------------------------- */

size_t cloud_modelled_csr(struct span common_name, uint64_t key_number, uint8_t *out, size_t capacity)
{
    if (!modelled_name_valid(common_name))
        return 0;
    struct writer w = {out, 0, capacity};
    put(&w, "CVR1|", 5);
    put(&w, common_name.data, common_name.length);
    put(&w, "|", 1);
    put_hex64(&w, key_number);
    return w.at <= capacity ? w.at : 0;
}

size_t modelled_issue(struct cloud_pki *pki, enum cloud_ca ca, struct span csr, const struct issue_names *names,
                      int64_t now_s, int64_t lifetime_s, uint8_t *out, size_t capacity)
{
    struct span name;
    uint64_t key;
    if (!read_request(csr, &name, &key) || lifetime_s <= 0 || !issue_allowed(names, name))
        return 0;
    if (names->given)
        name = span_text(names->given);
    if (!modelled_name_valid(name))
        return 0;
    struct cloud_certificate c = {
        .serial = ++pki->next_serial, .not_before_s = now_s, .not_after_s = now_s + lifetime_s};
    memcpy(c.issuer_id, pki->ca[ca].certificate.id, 32);
    memcpy(c.common_name, name.data, name.length);
    return modelled_write(&c, key, out, capacity);
}

bool modelled_hierarchy(struct cloud_pki *pki)
{
    uint8_t bytes[MODELLED_BYTES_MAX];
    for (int i = 0; i < CLOUD_CA_COUNT; i++) {
        struct pki_ca *ca = &pki->ca[i];
        struct cloud_certificate c = {.serial = (uint64_t)i + 1, .is_ca = true};
        c.not_before_s = IDENTITY_CA_NOT_BEFORE_S;
        c.not_after_s = IDENTITY_CA_NOT_AFTER_S;
        strcpy(c.common_name, identity_ca_name[i]);
        if (i != CLOUD_CA_ROOT)
            memcpy(c.issuer_id, pki->ca[CLOUD_CA_ROOT].certificate.id, 32);
        /* The seed is the key: two hierarchies of different seeds have different ids. */
        ca->length = modelled_write(&c, pki->seed * UINT64_C(0x9E3779B97F4A7C15) + (uint64_t)i, bytes, sizeof(bytes));
        ca->bytes = memory_allocate(ca->length);
        if (!ca->bytes)
            return false;
        memcpy(ca->bytes, bytes, ca->length);
        ASSERT(modelled_read(span_of(ca->bytes, ca->length), &ca->certificate));
    }
    pki->next_serial = UINT64_C(1000);
    return true;
}
