/* commands.h: one function a subcommand; argv[0] is the subcommand's name. Each returns the process's exit code:
 * 0 all expectations hold, 1 one failed, 2 usage or scenario error, 3 environment, 4 inconclusive, 130 interrupted.
 */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include "sim/world.h"

enum {
    EXIT_HOLDS = 0,
    EXIT_EXPECTATION_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_ENVIRONMENT = 3,
    EXIT_INCONCLUSIVE = 4,
    EXIT_INTERRUPTED = 130,
};

int cmd_run(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_cloud(int argc, char **argv);
int cmd_tcu(int argc, char **argv);
int cmd_replay(int argc, char **argv);
int cmd_diff(int argc, char **argv);
int cmd_conform(int argc, char **argv);

/* options.c: what run and check share. */
struct cli_options {
    const char *scenario;
    char *scenario_text; /* as it was when loaded; NULL: not read */
    struct script_override overrides[128];
    uint32_t override_count;
    struct script_options script;
    struct world_options world;
    bool json;
    const char *out;
    int jobs; /* 0: not given */
};
/* false: *code is the exit code (a line has been printed). */
bool cli_parse(int argc, char **argv, bool running, struct cli_options *options, int *code);
/* From now on cli_parse() and cli_complain() print nothing: one process of several speaks. */
void cli_hush(bool hush);
/* One line on standard error: "convoy: ...". */
void cli_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The whole of a small file, for the caller to free; NULL: cannot be read. */
char *cli_file_text(const char *path);

/* directory.c */
/* `wanted`, or runs/NAME, or when that is an old run's: runs/NAME-2, ... */
void cli_choose_directory(const char *name, const char *wanted, char *out, size_t capacity);
/* Makes it, with what is above it, and looks whether it can be written to. false: a line has been printed. */
bool cli_prepare_directory(char *path);
/* As it was typed, but for passwords. */
void cli_command_text(int argc, char **argv, char *out, size_t capacity);
/* DER as PEM; a private key is for its owner's eyes only. false: errno says why. */
bool cli_write_pem(const char *path, const char *label, const uint8_t *der, size_t length);

/* progress.c */
void cli_progress(void *context, const struct world_progress *progress);
void cli_progress_clear(void);
/* From now on a line of JSON goes there each time, for programs. false: cannot be written. */
bool cli_progress_to(const char *path);

extern const char *const convoy_version, *const convoy_commit;

#endif
