// Moves centers p/q of the way to their clusters' means, rounded half up to the grid and kept
// within `low` … `high`; the center of an empty cluster only is brought there. Clears the sums.
//
// sums     (k, 1 + AXES): weight, and weight * (x + BIAS) for each axis, as `reduce` adds them up
// count    k
// low, high (AXES): bounds of all points
// fixed    so many centers, the first ones, stay where they are
// centers  (k, AXES): integer coordinates, moved in place
//
// Launch: any block, any grid.

#ifndef AXES
#define AXES 3
#endif
#define BIAS 2048

__device__ long long floor_divide(long long a, long long b) {  // b > 0
    return a / b - (a % b < 0);
}

extern "C" __global__ void
update(long long* __restrict__ sums, const int* __restrict__ count, const float* __restrict__ low,
       const float* __restrict__ high, int fixed, int p, int q, float* __restrict__ centers) {
    const int k = *count;
    for (int c = blockIdx.x * blockDim.x + threadIdx.x; c < k; c += gridDim.x * blockDim.x) {
        long long* const cluster = sums + (size_t)c * (1 + AXES);
        const long long weight = cluster[0];
        for (int a = 0; a < AXES; ++a) {
            float* const center = centers + (size_t)c * AXES + a;
            float grid = *center;
            if (weight) {
                const long long sum = cluster[1 + a] - BIAS * weight, old = (long long)grid;
                const long long moved = p * sum + (q - p) * old * weight;
                grid = (float)floor_divide(2 * moved + q * weight, 2 * q * weight);
            }
            if (c >= fixed) *center = fminf(fmaxf(grid, low[a]), high[a]);
            cluster[1 + a] = 0;
        }
        cluster[0] = 0;
    }
}
