// How much each pixel of some rows counts: less where its neighborhood is busy, and in the dark.
// If TEMPERED, how much of its error is passed on: see `local_strength`.
//
// pixels   (rows, width, 3)
// before   (width, 3): the row above them, if has_before
// after    (rows_after, width, 3): up to two rows below them
// ranks    (rows * width), if TEMPERED: each pixel's color, for which there are
// full     the strength in clean gradients, and
// wanted   elsewhere, 0 … FULL each
// found    (rows * width): weights, 1 … 255, see `pixel_weights`; or strengths, 0 … FULL
//
// Launch: any block, any grid. A thread takes a pixel at a time.

#define HALF 320
#define DARK 40
#define BRIGHT 760
#define GAIN 102

#define FULL 64
#define BUSY 58
#define SMOOTH 32
#define CLEAN 61
#define MIDDLE 1000
#define GRADIENT 250

struct Picture {
    const unsigned char *pixels, *before, *after;
    int rows, width, has_before, rows_after;

    __device__ bool has(int y, int x) const {
        return y >= -has_before && y < rows + rows_after && x >= 0 && x < width;
    }
    __device__ int light(int y, int x) const {
        const unsigned char* const row =
            y < 0 ? before : y < rows ? pixels + (size_t)y * width * 3
                                      : after + (size_t)(y - rows) * width * 3;
        return 2 * row[3 * x] + 5 * row[3 * x + 1] + row[3 * x + 2];
    }
    __device__ int busy(int y, int x) const {
        if (!has(y, x)) return 0;
        const int own = light(y, x);
        return (has(y, x + 1) ? abs(light(y, x + 1) - own) : 0) +
               (has(y + 1, x) ? abs(light(y + 1, x) - own) : 0);
    }
};

__device__ int weight(int activity, int light) {
    const int sum = HALF + activity, share = GAIN * (DARK + min(light, BRIGHT));
    return max((2 * share + sum) / (2 * sum), 1);
}

__device__ int tempered(int activity, int full, int wanted) {
    const int level = (BUSY - (BUSY - SMOOTH) * MIDDLE / (MIDDLE + activity)) * wanted;
    const int clean = max(CLEAN - CLEAN * activity / GRADIENT, 0) * full;
    return (max(level, clean) + FULL / 2) / FULL;
}

extern "C" __global__ void
weigh(const unsigned char* __restrict__ pixels, const unsigned char* __restrict__ before,
      const unsigned char* __restrict__ after, int rows, int width, int has_before, int rows_after,
#ifdef TEMPERED
      const int* __restrict__ ranks, const unsigned char* __restrict__ full,
      const unsigned char* __restrict__ wanted,
#endif
      unsigned char* __restrict__ found) {
    const Picture picture = {pixels, before, after, rows, width, has_before, rows_after};
    const long long step = (long long)gridDim.x * blockDim.x;
    const long long count = (long long)rows * width;
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < count; i += step) {
        const int y = (int)(i / width), x = (int)(i % width);
        int activity = 0;
        for (int dy = -1; dy <= 1; ++dy)
            for (int dx = -1; dx <= 1; ++dx) activity += picture.busy(y + dy, x + dx);
#ifdef TEMPERED
        found[i] = tempered(activity, full[ranks[i]], wanted[ranks[i]]);
#else
        found[i] = weight(activity, picture.light(y, x));
#endif
    }
}
