/* verdict.c: from checks and monitors to statements. */
#include "internal.h"

const char *conform_verdict_name(enum conform_verdict verdict)
{
    static const char *const names[] = {
        [CONFORM_NOT_RUN] = "not run", [CONFORM_PASS] = "pass",   [CONFORM_FAIL] = "fail",
        [CONFORM_WARN] = "warn",       [CONFORM_SKIP] = "skip",   [CONFORM_INCONCLUSIVE] = "inconclusive",
        [CONFORM_ERROR] = "error",     [CONFORM_XFAIL] = "xfail", [CONFORM_XPASS] = "xpass",
    };
    return verdict <= CONFORM_XPASS ? names[verdict] : "?";
}

/* What outweighs what when several looked at one statement. */
static int weight(enum conform_verdict verdict)
{
    static const int weights[] = {
        [CONFORM_NOT_RUN] = 0, [CONFORM_SKIP] = 1,  [CONFORM_PASS] = 2,         [CONFORM_XPASS] = 3, [CONFORM_WARN] = 4,
        [CONFORM_XFAIL] = 5,   [CONFORM_ERROR] = 6, [CONFORM_INCONCLUSIVE] = 7, [CONFORM_FAIL] = 8,
    };
    return weights[verdict];
}

static bool names_it(const char *const *refs, int count, const char *id)
{
    for (int i = 0; i < count && refs[i]; i++)
        if (strcmp(refs[i], id) == 0)
            return true;
    return false;
}

static enum conform_verdict worse(enum conform_verdict a, enum conform_verdict b)
{
    return weight(b) > weight(a) ? b : a;
}

enum conform_verdict conform_statement_verdict(const struct conform_outcome *outcome,
                                               const struct conform_statement *statement)
{
    enum conform_verdict verdict = CONFORM_NOT_RUN;
    for (uint32_t i = 0; i < outcome->result_count; i++) {
        const struct conform_result *result = &outcome->results[i];
        /* What failed speaks of the statement it asserts; what passed, of all that it touches. */
        bool asserts = strcmp(result->ref, statement->id) == 0;
        bool touches = asserts || (!result->row.ref && names_it(result->check->refs, 8, statement->id));
        if (asserts || (touches && (result->verdict == CONFORM_PASS || result->verdict == CONFORM_SKIP)))
            verdict = worse(verdict, result->verdict);
        for (uint32_t f = 0; f < result->finding_count; f++)
            if (result->findings[f].ref && strcmp(result->findings[f].ref, statement->id) == 0)
                verdict = worse(verdict, result->findings[f].verdict);
    }
    const struct conform_monitor *monitor;
    for (uint32_t i = 0; (monitor = conform_monitor_at(i)); i++)
        if (outcome->monitor_seen[i] && names_it(monitor->refs, 4, statement->id))
            verdict = worse(verdict, CONFORM_PASS);
    return verdict;
}
