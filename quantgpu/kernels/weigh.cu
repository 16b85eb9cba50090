// How much each pixel of some rows counts: less where its neighborhood is busy, and in the dark.
//
// pixels   (rows, width, 3)
// before   (width, 3): the row above them, if has_before
// after    (rows_after, width, 3): up to two rows below them
// weights  (rows * width): 1 … 255; see `importance`
//
// Launch: any block, any grid. A thread takes a pixel at a time.

#define HALF 320
#define DARK 40
#define BRIGHT 760
#define GAIN 102

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

extern "C" __global__ void
weigh(const unsigned char* __restrict__ pixels, const unsigned char* __restrict__ before,
      const unsigned char* __restrict__ after, int rows, int width, int has_before, int rows_after,
      unsigned char* __restrict__ weights) {
    const Picture picture = {pixels, before, after, rows, width, has_before, rows_after};
    const long long step = (long long)gridDim.x * blockDim.x;
    const long long count = (long long)rows * width;
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < count; i += step) {
        const int y = (int)(i / width), x = (int)(i % width);
        int activity = 0;
        for (int dy = -1; dy <= 1; ++dy)
            for (int dx = -1; dx <= 1; ++dx) activity += picture.busy(y + dy, x + dx);
        const int sum = HALF + activity, share = GAIN * (DARK + min(picture.light(y, x), BRIGHT));
        const int weight = (2 * share + sum) / (2 * sum);
        weights[i] = weight > 1 ? weight : 1;
    }
}
