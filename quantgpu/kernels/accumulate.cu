// Reads a batch of distances once, takes each row's least (ties to the lowest index), and adds
// the weighted sums of its point to its cluster.
//
// distances (rows, k)
// columns  (AXES + 1, n): integer coordinates, |x| < BIAS
// weights  (n): positive
// first    the point of the first row
// sums     (k, 1 + AXES), to which weight, and weight * (x + BIAS) for each axis, are added
//
// Launch: blocks of THREADS, any grid; 8 * (1 + AXES) * k bytes of dynamic shared memory if
// `in_shared`, else none. A warp takes a row at a time.

#ifndef AXES
#define AXES 3
#endif
#define THREADS 256
#define VALUES (1 + AXES)
#define BIAS 2048
typedef unsigned long long Sum;

extern "C" __global__ void __launch_bounds__(256)
accumulate(const float* __restrict__ distances, const float* __restrict__ columns,
           const long long* __restrict__ weights, int rows, int first, int n, int k, int in_shared,
           Sum* __restrict__ sums) {
    extern __shared__ unsigned words[];
    for (int i = threadIdx.x; in_shared && i < 2 * VALUES * k; i += THREADS) words[i] = 0;
    __syncthreads();  // the sums begin at zero
    const int lane = threadIdx.x % 32;
    const int warps = gridDim.x * (THREADS / 32);
    for (int row = (blockIdx.x * THREADS + threadIdx.x) / 32; row < rows; row += warps) {
        float least = 3e38f;
        int label = k;
        for (int j = lane; j < k; j += 32) {
            const float distance = distances[(size_t)row * k + j];
            if (distance < least) {
                least = distance;
                label = j;
            }
        }
        for (int apart = 16; apart > 0; apart /= 2) {
            const float other = __shfl_xor_sync(0xffffffffu, least, apart);
            const int index = __shfl_xor_sync(0xffffffffu, label, apart);
            if (other < least || (other == least && index < label)) {
                least = other;
                label = index;
            }
        }
        if (lane < VALUES) {
            const size_t point = (size_t)first + row;
            const Sum weight = weights[point];
            const Sum value =
                lane ? weight * (unsigned)(columns[(size_t)(lane - 1) * n + point] + BIAS) : weight;
            const int slot = label * VALUES + lane;
            if (in_shared) {
                const unsigned low = (unsigned)value;
                const unsigned before = atomicAdd(&words[2 * slot], low);
                const unsigned high = (unsigned)(value >> 32) + (before + low < before);
                if (high) atomicAdd(&words[2 * slot + 1], high);
            } else {
                atomicAdd(&sums[slot], value);
            }
        }
    }
    __syncthreads();  // all rows are in the sums
    for (int i = threadIdx.x; in_shared && i < VALUES * k; i += THREADS) {
        const Sum sum = ((Sum)words[2 * i + 1] << 32) + words[2 * i];
        if (sum) atomicAdd(&sums[i], sum);
    }
}
