// Ordered dithering of packed RGB bytes: see `OrderedPlan.switch`, whose integers these are.
//
// pixels   pictures of (height * width, 3), `stride` pixels apart, from a multiple of 4 bytes on
// table    (2^24): the word of each color red + 256 * green + 65536 * blue: from the low bits on,
//          both palette entries, 8 bits each, and the share of the second
// bounds   (side, side): the greatest word that gives the first entry at each place; side is a
//          power of two
// entries  (k): the palette's colors, packed like the pixels'; k <= ENTRIES
// row, column: the place of the first pixel of each picture
// index    pictures of (height * width), `stride` apart, from a multiple of 16 bytes on
// counts   (k), if COUNTED: the pixels of each entry are added
// errors   (pictures): the squared differences of each are added
//
// Launch: whole warps in a block; a grid of any by as many as there are pictures, `stride` being a
// multiple of RUN if there are several. A thread takes RUN pixels at a time, as 32-bit words. A
// picture has fewer than 2^31 pixels.

#define ENTRIES 256
#define RUN 16
#define WORDS (RUN * 3 / 4)
#define ALL 0xffffffffu

struct __align__(16) Indices {
    unsigned char of[RUN];
};

__device__ void load(const unsigned char* bytes, int count, unsigned* color) {
    unsigned word[WORDS + 1] = {0};
    if (count == RUN)
        for (int w = 0; w < WORDS; ++w) word[w] = ((const unsigned*)bytes)[w];
    for (int p = 0; p < RUN; ++p) {
        const unsigned long long two =
            word[3 * p / 4] | (unsigned long long)word[3 * p / 4 + 1] << 32;
        color[p] = (unsigned)(two >> (3 * p % 4 * 8)) & 0xffffff;
        if (count < RUN && p < count)
            color[p] = bytes[3 * p] | bytes[3 * p + 1] << 8 | bytes[3 * p + 2] << 16;
    }
}

__device__ void store(const Indices& found, int count, unsigned char* out) {
    if (count == RUN)
        *(Indices*)out = found;
    else
        for (int p = 0; p < RUN; ++p)
            if (p < count) out[p] = found.of[p];
}

__device__ int squared(unsigned a, unsigned b) {
    int sum = 0;
    for (int shift = 0; shift < 24; shift += 8) {
        const int gap = (int)(a >> shift & 255) - (int)(b >> shift & 255);
        sum += gap * gap;
    }
    return sum;
}

extern "C" __global__ void
ordered(const unsigned char* __restrict__ pixels, const unsigned* __restrict__ table,
        const unsigned* __restrict__ bounds, const unsigned* __restrict__ entries, int height,
        int width, long long stride, int row, int column, int side, int k,
        unsigned char* __restrict__ index,
#ifdef COUNTED
        unsigned long long* counts,
#endif
        unsigned long long* errors) {
    __shared__ unsigned palette[ENTRIES];
    for (int i = threadIdx.x; i < k; i += blockDim.x) palette[i] = entries[i];
#ifdef COUNTED
    __shared__ unsigned pixels_of[ENTRIES];
    for (int i = threadIdx.x; i < k; i += blockDim.x) pixels_of[i] = 0;
#endif
    __syncthreads();  // the palette is there
    const int n = height * width, mask = side - 1;
    const long long picture = stride * blockIdx.y, step = (long long)gridDim.x * blockDim.x * RUN;
    unsigned long long error = 0;
    for (long long at = (blockIdx.x * (long long)blockDim.x + threadIdx.x) * RUN; at < n;
         at += step) {
        const int first = (int)at, count = min(n - first, RUN);
        unsigned color[RUN], word[RUN];
        load(pixels + 3 * (picture + first), count, color);
        for (int p = 0; p < RUN; ++p) word[p] = p < count ? __ldg(table + color[p]) : 0;
        int y = row + first / width, x = first % width, sum = 0;
        Indices found;
        for (int p = 0; p < RUN; ++p) {
            const unsigned bound = __ldg(bounds + (y & mask) * side + ((column + x) & mask));
            const unsigned entry = word[p] >> (word[p] > bound ? 8 : 0) & 255;
            found.of[p] = entry;
            if (p < count) {
                sum += squared(palette[entry], color[p]);
#ifdef COUNTED
                atomicAdd(&pixels_of[entry], 1);
#endif
            }
            if (++x == width) {
                x = 0;
                ++y;
            }
        }
        error += sum;
        store(found, count, index + picture + first);
    }
    for (int apart = 16; apart > 0; apart /= 2) error += __shfl_down_sync(ALL, error, apart);
    if (threadIdx.x % 32 == 0) atomicAdd(&errors[blockIdx.y], error);
#ifdef COUNTED
    __syncthreads();  // all pixels are counted
    for (int i = threadIdx.x; i < k; i += blockDim.x)
        if (pixels_of[i]) atomicAdd(&counts[i], (unsigned long long)pixels_of[i]);
#endif
}
