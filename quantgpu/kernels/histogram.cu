// Counts the colors of packed RGB bytes; runs of equal neighbors are counted as one.
//
// pixels   (n, 3), beginning at a multiple of 4 bytes
// weights  (n), if WEIGHTED
// bins     (2^24): pixels of each color red + 256 * green + 65536 * blue are added; if WEIGHTED,
//          64 bits that hold their number and, from bit COUNT_BITS on, their summed weight
//
// Launch: any block, any grid. A thread takes RUN pixels at a time, as 32-bit words.

#ifdef WEIGHTED
typedef unsigned long long Bin;
#define WEIGHT(p) (((Bin)weights[p] << COUNT_BITS) + 1)
#else
typedef unsigned Bin;
#define WEIGHT(p) 1u
#endif
#define COUNT_BITS 28
#define RUN 16
#define WORDS (RUN * 3 / 4)

extern "C" __global__ void
histogram(const unsigned char* __restrict__ pixels,
#ifdef WEIGHTED
          const unsigned char* __restrict__ weights,
#endif
          long long n, Bin* __restrict__ bins) {
    const unsigned* const words = (const unsigned*)pixels;
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long g = blockIdx.x * (long long)blockDim.x + threadIdx.x; g * RUN < n; g += step) {
        if (n - g * RUN < RUN) {
            for (long long p = g * RUN; p < n; ++p)
                atomicAdd(&bins[pixels[3 * p] | pixels[3 * p + 1] << 8 | pixels[3 * p + 2] << 16],
                          WEIGHT(p));
            continue;
        }
        unsigned word[WORDS + 1] = {0};
        for (int w = 0; w < WORDS; ++w) word[w] = words[g * WORDS + w];
        unsigned key = word[0] & 0xffffff;
        Bin run = 0;
        for (int p = 0; p < RUN; ++p) {
            const unsigned long long two =
                word[3 * p / 4] | (unsigned long long)word[3 * p / 4 + 1] << 32;
            const unsigned next = (unsigned)(two >> (3 * p % 4 * 8)) & 0xffffff;
            if (next != key) {
                atomicAdd(&bins[key], run);
                key = next;
                run = 0;
            }
            run += WEIGHT(g * RUN + p);
        }
        atomicAdd(&bins[key], run);
    }
}
