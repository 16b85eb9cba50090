// Drops the centers that are missed least, and keeps the others in their order. Of a center and
// its nearest neighbor only one goes, as each counts on the other to stay; when that leaves too
// many, the cheapest of the rest go too. Clears the losses.
//
// wide     (m, AXES)
// losses   (m)
// nearest, order: (m) as `rank` finds them
// count    m; nothing is done if it is 0
// k        how many centers stay, and among them
// fixed    so many, the first ones
// candidate (k, AXES): those that stay
//
// Launch: one block of THREADS; 8 * ceil(m / 32) bytes of dynamic shared memory.

#ifndef AXES
#define AXES 3
#endif
#define THREADS 128

extern "C" __global__ void __launch_bounds__(128)
drop(const float* __restrict__ wide, long long* __restrict__ losses,
     const int* __restrict__ nearest, const int* __restrict__ order,
     const int* __restrict__ count, int k, int fixed, float* __restrict__ candidate) {
    extern __shared__ unsigned goes[];  // a bit for each center, and behind them a bit for "stays"
    const int m = *count, words = (m + 31) / 32;
    unsigned* const stays = goes + words;
    if (m == 0) return;
    for (int i = threadIdx.x; i < 2 * words; i += THREADS) goes[i] = 0;
    __syncthreads();  // no bit is set
    if (threadIdx.x == 0) {
        int fewer = m - k;
        for (int i = 0; i < m && fewer > 0; ++i) {
            const int c = order[i], other = nearest[c];
            if (c < fixed || stays[c / 32] >> (c % 32) & 1) continue;
            goes[c / 32] |= 1u << (c % 32);
            stays[other / 32] |= 1u << (other % 32);
            --fewer;
        }
        for (int i = 0; i < m && fewer > 0; ++i) {
            const int c = order[i];
            if (c < fixed || goes[c / 32] >> (c % 32) & 1) continue;
            goes[c / 32] |= 1u << (c % 32);
            --fewer;
        }
    }
    __syncthreads();  // it is settled who goes
    for (int c = threadIdx.x; c < m; c += THREADS) {
        losses[c] = 0;
        const unsigned before = goes[c / 32] & ((1u << (c % 32)) - 1);
        if (goes[c / 32] >> (c % 32) & 1) continue;
        int slot = c - __popc(before);
        for (int word = 0; word < c / 32; ++word) slot -= __popc(goes[word]);
        for (int a = 0; a < AXES; ++a)
            candidate[(size_t)slot * AXES + a] = wide[(size_t)c * AXES + a];
    }
}
