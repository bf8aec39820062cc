/* token_session.c: reaching a PKCS#11 token: its name, its module, one session with the user logged in.
 *
 * The module is loaded only when a token is asked for. The PIN is read from its file for each login and not kept. A session that is gone
 * (the token was taken out and put back) is opened anew by whoever needs it next; a PIN that was refused once is not tried again, because
 * tokens lock themselves after a few. */
#include "token_internal.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SLOTS_MAX = 64, PIN_MAX = 256 };

/* ---- what is wrong -------------------------------------------------------------------------------------------------------- */

static const char *result_text(CK_RV result)
{
    switch (result) {
    case CKR_PIN_INCORRECT: return "the PIN is wrong";
    case CKR_PIN_INVALID:
    case CKR_PIN_LEN_RANGE: return "the PIN is none that this token takes";
    case CKR_PIN_LOCKED: return "the PIN is locked";
    case CKR_USER_PIN_NOT_INITIALIZED: return "the token has no user's PIN yet";
    case CKR_TOKEN_NOT_PRESENT:
    case CKR_DEVICE_REMOVED: return "the token is not there";
    case CKR_DEVICE_MEMORY: return "the token is full";
    case CKR_DEVICE_ERROR: return "the token does not work";
    case CKR_TOKEN_WRITE_PROTECTED: return "the token is write-protected";
    case CKR_MECHANISM_INVALID:
    case CKR_CURVE_NOT_SUPPORTED: return "the token cannot do P-256";
    case CKR_USER_NOT_LOGGED_IN: return "the token wants a PIN: --pin-file";
    default: return NULL;
    }
}

bool token_failed(struct ports_token *token, const char *what, CK_RV result)
{
    const char *text = result_text(result);
    if (text)
        snprintf(token->why, sizeof(token->why), "token '%s': %s: %s", token->address.label, what, text);
    else
        snprintf(token->why, sizeof(token->why), "token '%s': %s: PKCS#11 result 0x%lx", token->address.label, what,
                 (unsigned long)result);
    return false;
}

/* ---- its name --------------------------------------------------------------------------------------------------------------- */

static int hexadecimal(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

/* Percent-decodes. false: too long, or "%" without two digits. */
static bool decode(const char *text, size_t length, char *out, size_t capacity)
{
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        int byte = (unsigned char)text[i];
        if (text[i] == '%') {
            int high = i + 2 < length ? hexadecimal(text[i + 1]) : -1;
            int low = high >= 0 ? hexadecimal(text[i + 2]) : -1;
            byte = low >= 0 ? high * 16 + low : 0;
            i += 2;
        }
        if (byte == 0 || used + 1 >= capacity)
            return false;
        out[used++] = (char)byte;
    }
    out[used] = 0;
    return used > 0;
}

bool token_address_read(struct token_address *address, const char *uri, char *error, size_t error_capacity)
{
    memset(address, 0, sizeof(*address));
    const struct {
        const char *name;
        char *out;
        size_t capacity;
    } parts[] = {{"token", address->label, sizeof(address->label)},
                 {"serial", address->serial, sizeof(address->serial)},
                 {"manufacturer", address->manufacturer, sizeof(address->manufacturer)},
                 {"model", address->model, sizeof(address->model)}};
    bool good = strncmp(uri, "pkcs11:", 7) == 0 && uri[7];
    for (const char *at = uri + 7; good && *at;) {
        size_t length = strcspn(at, ";"), name = strcspn(at, "=");
        good = false;
        for (size_t i = 0; name < length && i < sizeof(parts) / sizeof(parts[0]); i++)
            if (strlen(parts[i].name) == name && strncmp(at, parts[i].name, name) == 0)
                good = decode(at + name + 1, length - name - 1, parts[i].out, parts[i].capacity);
        at += length + (at[length] == ';');
    }
    if (!good)
        snprintf(error, error_capacity,
                 "'%s' names no token; write pkcs11:token=NAME, and ;serial= ;model= ;manufacturer= if need be", uri);
    return good;
}

/* ---- its module ------------------------------------------------------------------------------------------------------------- */

bool token_library_open(struct ports_token *token)
{
    CK_C_GetFunctionList get_list = NULL;
    token->library = dlopen(token->module, RTLD_NOW | RTLD_LOCAL);
    if (!token->library) {
        const char *text = dlerror();
        snprintf(token->why, sizeof(token->why), "cannot load the token's module: %.160s", text ? text : token->module);
        return false;
    }
    void *symbol = dlsym(token->library, "C_GetFunctionList");
    memcpy(&get_list, &symbol, sizeof(get_list));
    if (!get_list || get_list(&token->call) != CKR_OK) {
        snprintf(token->why, sizeof(token->why), "%.160s is no PKCS#11 module", token->module);
        return false;
    }
    CK_C_INITIALIZE_ARGS threads = {.flags = CKF_OS_LOCKING_OK};
    CK_RV result = token->call->C_Initialize(&threads);
    token->finalizes = result == CKR_OK;
    token->initialized = token->finalizes || result == CKR_CRYPTOKI_ALREADY_INITIALIZED;
    return token->initialized || token_failed(token, "its module does not start", result);
}

void token_library_close(struct ports_token *token)
{
    if (token->session != CK_INVALID_HANDLE)
        token->call->C_CloseSession(token->session);
    token->session = CK_INVALID_HANDLE;
    if (token->finalizes)
        token->call->C_Finalize(NULL);
    token->initialized = token->finalizes = false;
    if (token->library)
        dlclose(token->library);
    token->library = NULL;
}

/* ---- a session ---------------------------------------------------------------------------------------------------------------- */

/* Texts in a token's description are padded with blanks. */
static bool fits(const char *wanted, const CK_UTF8CHAR *padded, size_t size)
{
    size_t length = strlen(wanted);
    if (length == 0)
        return true;
    if (length > size || memcmp(wanted, padded, length) != 0)
        return false;
    while (length < size && padded[length] == ' ')
        length++;
    return length == size;
}

static bool is_meant(const struct ports_token *token, CK_SLOT_ID slot)
{
    const struct token_address *address = &token->address;
    CK_TOKEN_INFO info;
    return token->call->C_GetTokenInfo(slot, &info) == CKR_OK && (info.flags & CKF_TOKEN_INITIALIZED) &&
           fits(address->label, info.label, sizeof(info.label)) &&
           fits(address->serial, info.serialNumber, sizeof(info.serialNumber)) &&
           fits(address->manufacturer, info.manufacturerID, sizeof(info.manufacturerID)) &&
           fits(address->model, info.model, sizeof(info.model));
}

static bool find_slot(struct ports_token *token, CK_SLOT_ID *found)
{
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG count = SLOTS_MAX;
    unsigned meant = 0;
    CK_RV result = token->call->C_GetSlotList(CK_TRUE, slots, &count);
    if (result != CKR_OK)
        return token_failed(token, "its module has no list of tokens", result);
    for (CK_ULONG i = 0; i < count; i++)
        if (is_meant(token, slots[i])) {
            *found = slots[i];
            meant++;
        }
    if (meant != 1)
        snprintf(token->why, sizeof(token->why), "%.120s has %s tokens '%s'", token->module, meant ? "several" : "no",
                 token->address.label);
    return meant == 1;
}

/* The first line of the file. Returns its length, 0: none. */
static size_t read_pin(struct ports_token *token, char pin[PIN_MAX])
{
    int fd = open(token->pin_file, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read(fd, pin, PIN_MAX - 1) : -1;
    int failure = errno;
    if (fd >= 0)
        close(fd);
    pin[length > 0 ? length : 0] = 0;
    size_t line = strcspn(pin, "\r\n");
    if (line == 0)
        snprintf(token->why, sizeof(token->why), "no PIN in %.100s%s%s", token->pin_file, length < 0 ? ": " : "",
                 length < 0 ? strerror(failure) : "");
    return line;
}

/* Without a PIN: the token has a keypad of its own, or asks for none. */
static bool log_in(struct ports_token *token, CK_SLOT_ID slot, CK_SESSION_HANDLE session)
{
    char pin[PIN_MAX];
    CK_TOKEN_INFO info;
    CK_RV result = token->call->C_GetTokenInfo(slot, &info);
    size_t length = token->pin_file[0] ? read_pin(token, pin) : 0;
    if (token->pin_file[0] && length == 0)
        return false;
    token->login = result != CKR_OK || (info.flags & CKF_LOGIN_REQUIRED);
    if (!token->login)
        return true;
    if (result == CKR_OK && length == 0 && !(info.flags & CKF_PROTECTED_AUTHENTICATION_PATH))
        result = CKR_USER_NOT_LOGGED_IN;
    if (result == CKR_OK)
        result = token->call->C_Login(session, CKU_USER, length ? (CK_UTF8CHAR *)pin : NULL, length);
    OPENSSL_cleanse(pin, sizeof(pin));
    if (result == CKR_OK || result == CKR_USER_ALREADY_LOGGED_IN)
        return true;
    token->locked_out = result == CKR_PIN_INCORRECT || result == CKR_PIN_LOCKED;
    return token_failed(token, "cannot log in", result);
}

static bool session_lives(const struct ports_token *token)
{
    CK_SESSION_INFO info;
    return token->session != CK_INVALID_HANDLE && token->call->C_GetSessionInfo(token->session, &info) == CKR_OK &&
           (info.state == CKS_RW_USER_FUNCTIONS || !token->login);
}

bool token_session_ready(struct ports_token *token)
{
    CK_SESSION_HANDLE session;
    CK_SLOT_ID slot;
    if (session_lives(token))
        return true;
    if (token->session != CK_INVALID_HANDLE)
        token->call->C_CloseSession(token->session);
    token->session = CK_INVALID_HANDLE;
    if (token->locked_out)
        return token_failed(token, "cannot log in", CKR_PIN_INCORRECT);
    if (!find_slot(token, &slot))
        return false;
    CK_RV result = token->call->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session);
    if (result != CKR_OK)
        return token_failed(token, "cannot open a session", result);
    if (!log_in(token, slot, session)) {
        token->call->C_CloseSession(session);
        return false;
    }
    token->session = session;
    return true;
}
