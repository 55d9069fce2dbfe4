/* What the floor programs share: their arguments, the clock, and what they print. */
#ifndef LUNAR_FLOOR_H
#define LUNAR_FLOOR_H

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "reason.h"

enum { FLOOR_PORT = 7400, WARM_UP = 2000 };

typedef struct {
    const char *mode; /* ping, pong, flood, sink */
    const char *backend;
    const char *link;
    uint8_t here[4], there[4], there_mac[6];
    uint32_t size_bytes, count, burst;
    double seconds;
    bool generic, all; /* all: print every round trip */
} floor_options;

static inline uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

__attribute__((noreturn, format(printf, 1, 2))) static inline void fail_with(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(1);
}

static inline void read_option(floor_options *options, const char *name, const char *value) {
    unsigned mac[6];
    if (strcmp(name, "--link") == 0)
        options->link = value;
    else if (strcmp(name, "--backend") == 0)
        options->backend = value;
    else if (strcmp(name, "--here") == 0 && inet_pton(AF_INET, value, options->here) == 1)
        return;
    else if (strcmp(name, "--there") == 0 && inet_pton(AF_INET, value, options->there) == 1)
        return;
    else if (strcmp(name, "--there-mac") == 0 &&
             sscanf(value, "%x:%x:%x:%x:%x:%x", mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5) == 6)
        for (int i = 0; i < 6; i++)
            options->there_mac[i] = (uint8_t)mac[i];
    else if (strcmp(name, "--size") == 0)
        options->size_bytes = (uint32_t)strtoul(value, NULL, 10);
    else if (strcmp(name, "--count") == 0)
        options->count = (uint32_t)strtoul(value, NULL, 10);
    else if (strcmp(name, "--burst") == 0)
        options->burst = (uint32_t)strtoul(value, NULL, 10);
    else if (strcmp(name, "--seconds") == 0)
        options->seconds = strtod(value, NULL);
    else if (strcmp(name, "--print") == 0)
        options->all = strcmp(value, "all") == 0;
    else if (strcmp(name, "--mode") == 0)
        options->generic = strcmp(value, "generic") == 0;
    else
        fail_with("%s %s: not understood", name, value);
}

static inline floor_options read_options(int count, char **arguments) {
    floor_options options = {.size_bytes = 64, .count = 100000, .burst = 64, .seconds = 2, .backend = "xdp"};
    if (count < 2)
        fail_with("usage: %s ping|pong|flood|sink --link NAME --here IPV4 --there IPV4 --there-mac MAC [--size BYTES] "
                  "[--count ROUNDS] [--burst FRAMES] [--seconds S] [--mode native|generic] [--backend xdp|udp] "
                  "[--print all]",
                  arguments[0]);
    options.mode = arguments[1];
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a busy loop must not outlive whoever started it */
    for (int i = 2; i + 1 < count; i += 2)
        read_option(&options, arguments[i], arguments[i + 1]);
    if (options.size_bytes < 8 || options.size_bytes > 1400 || !options.burst || options.burst > 512 || !options.count)
        fail_with("8 to 1400 bytes, bursts of 1 to 512, and at least one round");
    return options;
}

static inline int compare_times(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

/* The first ones are warm-up. With `--print all` a line with every time, in order and in ns, comes before the summary. */
static inline void print_times(const floor_options *options, const char *what, uint64_t *times_ns) {
    uint64_t *measured = times_ns + WARM_UP;
    for (uint32_t i = 0; options->all && i < options->count; i++)
        printf("%llu%c", (unsigned long long)measured[i], i + 1 < options->count ? ' ' : '\n');
    qsort(measured, options->count, sizeof *measured, compare_times);
    const double least_us = (double)measured[0] / 1e3, p50_us = (double)measured[options->count / 2] / 1e3;
    printf("{\"what\": \"%s\", \"size_bytes\": %u, \"rounds\": %u, ", what, options->size_bytes, options->count);
    printf("\"min_us\": %.2f, \"p50_us\": %.2f, \"p99_us\": %.2f, \"p99_9_us\": %.2f}\n", least_us, p50_us,
           (double)measured[(uint64_t)options->count * 99 / 100] / 1e3,
           (double)measured[(uint64_t)options->count * 999 / 1000] / 1e3);
    fflush(stdout);
}

static inline void print_rate(const floor_options *options, const char *what, uint64_t frames, uint64_t lost,
                              uint64_t ns) {
    printf("{\"what\": \"%s\", \"size_bytes\": %u, \"burst\": %u, ", what, options->size_bytes, options->burst);
    printf("\"frames\": %llu, \"lost\": %llu, \"frames_per_s\": %.0f}\n", (unsigned long long)frames,
           (unsigned long long)lost, ns ? (double)frames * 1e9 / (double)ns : 0.0);
    fflush(stdout);
}

static inline void print_ready(void) {
    puts("ready");
    fflush(stdout);
}

#endif
