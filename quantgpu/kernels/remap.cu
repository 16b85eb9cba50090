// The palette index of every pixel, through a table that holds one for every color.
//
// pixels   (n, 3), beginning at a multiple of 4 bytes
// table    (2^24): index of each color red + 256 * green + 65536 * blue
// index    (n), beginning at a multiple of 16 bytes
//
// Launch: any block, any grid. A thread takes RUN pixels at a time, as 32-bit words.

#ifndef INDEX
#define INDEX unsigned char
#endif
#define RUN 16
#define WORDS (RUN * 3 / 4)

struct __align__(16) Indices {
    INDEX of[RUN];
};

extern "C" __global__ void
remap(const unsigned char* __restrict__ pixels, const INDEX* __restrict__ table, long long n,
      INDEX* __restrict__ index) {
    const unsigned* const words = (const unsigned*)pixels;
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long g = blockIdx.x * (long long)blockDim.x + threadIdx.x; g * RUN < n; g += step) {
        if (n - g * RUN < RUN) {
            for (long long p = g * RUN; p < n; ++p)
                index[p] = table[pixels[3 * p] | pixels[3 * p + 1] << 8 | pixels[3 * p + 2] << 16];
            continue;
        }
        unsigned word[WORDS + 1] = {0};
        for (int w = 0; w < WORDS; ++w) word[w] = words[g * WORDS + w];
        Indices found;
        for (int p = 0; p < RUN; ++p) {
            const unsigned long long two =
                word[3 * p / 4] | (unsigned long long)word[3 * p / 4 + 1] << 32;
            found.of[p] = table[(unsigned)(two >> (3 * p % 4 * 8)) & 0xffffff];
        }
        ((Indices*)index)[g] = found;
    }
}
