// What packed RGB bytes were mapped to: pixels of each palette entry, and the squared error.
//
// pixels   (n, 3), beginning at a multiple of 4 bytes
// index    (n): palette entries, beginning at a multiple of 4 bytes
// entries  (k): the palette's colors, packed like the pixels'; k <= ENTRIES
// counts   (k), if COUNTED: the pixels of each entry are added
// error    (1): the squared differences are added
//
// Launch: whole warps in a block, any grid. A thread takes 4 pixels at a time, as 32-bit words.

#define ENTRIES 256
#define ALL 0xffffffffu

__device__ int squared(unsigned a, unsigned b) {
    int sum = 0;
    for (int shift = 0; shift < 24; shift += 8) {
        const int gap = (int)(a >> shift & 255) - (int)(b >> shift & 255);
        sum += gap * gap;
    }
    return sum;
}

extern "C" __global__ void
tally(const unsigned char* __restrict__ pixels, const unsigned char* __restrict__ index,
      const unsigned* __restrict__ entries, long long n, int k,
#ifdef COUNTED
      unsigned long long* counts,
#endif
      unsigned long long* error) {
    __shared__ unsigned palette[ENTRIES];
    for (int i = threadIdx.x; i < k; i += blockDim.x) palette[i] = entries[i];
#ifdef COUNTED
    __shared__ unsigned pixels_of[ENTRIES];
    for (int i = threadIdx.x; i < k; i += blockDim.x) pixels_of[i] = 0;
#endif
    __syncthreads();  // the palette is there
    const long long step = (long long)gridDim.x * blockDim.x;
    unsigned long long total = 0;
    for (long long g = blockIdx.x * (long long)blockDim.x + threadIdx.x; 4 * g < n; g += step) {
        const int count = n - 4 * g < 4 ? (int)(n - 4 * g) : 4;
        unsigned color[4] = {0}, four = 0;
        if (count == 4) {
            const unsigned* const word = (const unsigned*)pixels + 3 * g;
            const unsigned a = word[0], b = word[1], c = word[2];
            color[0] = a & 0xffffff;
            color[1] = (a >> 24 | b << 8) & 0xffffff;
            color[2] = (b >> 16 | c << 16) & 0xffffff;
            color[3] = c >> 8;
            four = ((const unsigned*)index)[g];
        } else {
            for (int p = 0; p < 3; ++p)
                if (p < count) {
                    const unsigned char* const one = pixels + 3 * (4 * g + p);
                    color[p] = one[0] | one[1] << 8 | one[2] << 16;
                    four |= (unsigned)index[4 * g + p] << 8 * p;
                }
        }
        for (int p = 0; p < 4; ++p)
            if (p < count) {
                const unsigned entry = four >> 8 * p & 255;
                total += squared(palette[entry], color[p]);
#ifdef COUNTED
                atomicAdd(&pixels_of[entry], 1);
#endif
            }
    }
    for (int apart = 16; apart > 0; apart /= 2) total += __shfl_down_sync(ALL, total, apart);
    if (threadIdx.x % 32 == 0) atomicAdd(error, total);
#ifdef COUNTED
    __syncthreads();  // all pixels are counted
    for (int i = threadIdx.x; i < k; i += blockDim.x)
        if (pixels_of[i]) atomicAdd(&counts[i], (unsigned long long)pixels_of[i]);
#endif
}
