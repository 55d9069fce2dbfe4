/* Frames: what is built is what is parsed and what others make of it, and no frame at all is read past its end. */
#include "../../transports/xdp/native/net/frame.c"

#include "check.h"
#include "fuzz.h"

static const lunar_frame_source HERE = {
    .mac = {2, 0, 0, 0, 0, 1}, .port = 4711, .ipv4 = {198, 18, 0, 1}, .ipv6 = {0xfd, 0, [15] = 1}};

static lunar_destination destination(uint8_t family, uint16_t vlan) {
    lunar_destination to = {
        .family = family, .priority = 5, .vlan = vlan, .port = 4712, .mtu = 1500, .mac = {2, 0, 0, 0, 0, 2}};
    static const uint8_t ipv4[4] = {198, 18, 0, 2}, ipv6[16] = {0xfd, 0, [15] = 2};
    if (family == 4)
        memcpy(to.address, ipv4, 4);
    else
        memcpy(to.address, ipv6, 16);
    return to;
}

static uint32_t build(uint8_t *frame, uint8_t family, uint16_t vlan, uint32_t payload_bytes) {
    lunar_frame_header header;
    lunar_destination to = destination(family, vlan);
    CHECK(lunar_frame_prepare(&header, &HERE, &to));
    for (uint32_t i = 0; i < payload_bytes; i++)
        frame[header.size_bytes + i] = (uint8_t)(i * 7 + payload_bytes);
    return lunar_frame_build(&header, frame, payload_bytes);
}

static void what_is_built_is_parsed(void) {
    static uint8_t frame[66 + 65507];
    static const uint32_t sizes[] = {0, 1, 2, 3, 64, 1471, 1472, 8001, 65507};
    for (int family = 4; family <= 6; family += 2) {
        for (uint16_t vlan = 0; vlan <= 4094; vlan += 2047) {
            for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
                uint32_t size = build(frame, (uint8_t)family, vlan, sizes[i]);
                lunar_datagram got;
                /* Ethernet pads short frames, and whoever strips nothing gives on more. */
                for (uint32_t extra = 0; extra <= 18 && size + extra <= sizeof frame; extra += 18) {
                    CHECK(lunar_frame_parse(frame, size + extra, 4712, &got));
                    CHECK(got.size_bytes == sizes[i] && got.bytes == frame + size - sizes[i]);
                    CHECK(got.port == 4711 && got.family == family);
                    CHECK(memcmp(got.address, family == 4 ? HERE.ipv4 : HERE.ipv6, family == 4 ? 4 : 16) == 0);
                }
                CHECK(!lunar_frame_parse(frame, size, 4711, &got));
                for (uint32_t less = 1; less <= 80 && less <= size; less++)
                    CHECK(!lunar_frame_parse(frame, size - less, 4712, &got));
            }
        }
    }
}

/* Byte by byte, as written down in the standards. */
static void as_the_standards_have_it(void) {
    static const uint8_t ipv4[] = {
        2,    0,    0,    0,    0,    2,    2,    0,    0, 0, 0, 1, 0x81, 0, 0xa0, 7, 8, 0, /* PCP 5, VLAN 7 */
        0x45, 0,    0,    31,   0,    0,    0x40, 0,    64, 17, 0xb0, 0xa9, 198, 18, 0, 1, 198, 18, 0, 2,
        0x12, 0x67, 0x12, 0x68, 0,    11,   0,    0,    21, 0,  0};
    uint8_t frame[128] = {0};
    uint32_t size = build(frame, 4, 7, 3);
    CHECK(size == 49 && memcmp(frame, ipv4, 28) == 0 && memcmp(frame + 30, ipv4 + 30, 16) == 0);
    CHECK(fold(sum_of(frame + 18, 20)) == 0xffff);
    size = build(frame, 6, 0, 5);
    CHECK(size == 14 + 40 + 8 + 5 && frame[12] == 0x86 && frame[13] == 0xdd && frame[14] == 0x60);
    /* RFC 8200, 8.1, summed up anew from all that belongs to it. */
    uint8_t pseudo[40 + 13] = {0};
    memcpy(pseudo, frame + 22, 32);
    pseudo[35] = 13;
    pseudo[39] = 17;
    memcpy(pseudo + 40, frame + 54, 13);
    CHECK(fold(sum_of(pseudo, sizeof pseudo)) == 0xffff);
}

static void what_it_does_not_take(void) {
    uint8_t frame[256];
    lunar_datagram got;
    static const struct {
        uint8_t family, at, value;
    } wrong[] = {
        {4, 12, 0x09}, {4, 14, 0x55}, {4, 14, 0x44}, {4, 14, 0x4f}, {4, 17, 200}, {4, 17, 19}, {4, 20, 0x20},
        {4, 21, 1},
        {4, 23, 6},    {4, 39, 7},    {4, 39, 93},   {6, 14, 0x40}, {6, 18, 1}, {6, 20, 0},   {6, 20, 44},
        {6, 59, 7},    {6, 59, 73},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        uint32_t size = build(frame, wrong[i].family, 0, 64);
        CHECK(lunar_frame_parse(frame, size, 4712, &got));
        frame[wrong[i].at] = wrong[i].value;
        if (wrong[i].family == 4) { /* right but for the lie */
            memset(frame + 24, 0, 2);
            uint16_t checksum = (uint16_t)~fold(sum_of(frame + 14, 20));
            memcpy(frame + 24, &checksum, 2);
        }
        CHECK(!lunar_frame_parse(frame, size, 4712, &got));
    }
    uint32_t size = build(frame, 4, 0, 64);
    frame[24] ^= 1; /* its checksum */
    CHECK(!lunar_frame_parse(frame, size, 4712, &got));
    lunar_frame_header header;
    lunar_destination to = destination(5, 0);
    CHECK(!lunar_frame_prepare(&header, &HERE, &to));
    to = destination(4, 4095);
    CHECK(!lunar_frame_prepare(&header, &HERE, &to));
}

static void options_are_skipped(void) {
    uint8_t frame[256], with[256];
    uint32_t size = build(frame, 4, 0, 20);
    memcpy(with, frame, 34);
    memset(with + 34, 1, 8); /* "no operation", eight times */
    memcpy(with + 42, frame + 34, size - 34);
    with[14] = 0x47;
    with[17] = (uint8_t)(with[17] + 8);
    memset(with + 24, 0, 2);
    uint16_t checksum = (uint16_t)~fold(sum_of(with + 14, 28));
    memcpy(with + 24, &checksum, 2);
    lunar_datagram got;
    CHECK(lunar_frame_parse(with, size + 8, 4712, &got));
    CHECK(got.size_bytes == 20 && memcmp(got.bytes, frame + 42, 20) == 0);
}

/* Frames that are nearly right, in memory that ends where they end: a sanitizer sees what is read beyond. */
static void hostile_frames(void) {
    uint64_t state = fuzz_seed(), taken = 0, rounds = fuzz_rounds(200000);
    for (uint64_t round = 0; round < rounds; round++) {
        uint8_t whole[512];
        uint32_t size = build(whole, fuzz_below(&state, 2) ? 4 : 6, (uint16_t)(fuzz_below(&state, 2) * 9),
                              (uint32_t)fuzz_below(&state, 200));
        for (uint64_t changes = fuzz_below(&state, 4); changes; changes--)
            whole[fuzz_below(&state, fuzz_below(&state, 4) ? 66 : size)] = (uint8_t)fuzz_lie(&state, 20);
        if (fuzz_below(&state, 3) == 0)
            size = (uint32_t)fuzz_below(&state, size + 1);
        uint8_t *frame = malloc(size ? size : 1);
        CHECK(frame);
        memcpy(frame, whole, size);
        lunar_datagram got;
        if (lunar_frame_parse(frame, size, 4712, &got)) {
            CHECK(got.bytes >= frame && got.bytes + got.size_bytes <= frame + size);
            taken++;
        }
        free(frame);
    }
    CHECK(taken && taken < rounds);
}

int main(void) {
    what_is_built_is_parsed();
    as_the_standards_have_it();
    what_it_does_not_take();
    options_are_skipped();
    hostile_frames();
    printf("frames: ok\n");
    return 0;
}
