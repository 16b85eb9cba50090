// Kernels for the tests of the harness itself; they use what kernels of a quantizer use.

// The index of each point's nearest center; ties go to the lowest index.
extern "C" __global__ void __launch_bounds__(128)
nearest(const float4* __restrict__ points, const float4* __restrict__ centers, int n, int k,
        int* __restrict__ labels)
{
    extern __shared__ float4 near[];
    for (int j = threadIdx.x; j < k; j += blockDim.x) near[j] = __ldg(&centers[j]);
    __syncthreads();  // FILLED
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        float4 p = points[i];
        float least = 3.0e38f;
        int label = 0;
        for (int j = 0; j < k; ++j) {
            float4 c = near[j];
            float x = p.x - c.x, y = p.y - c.y, z = p.z - c.z, w = p.w - c.w;
            float d = fmaf(x, x, fmaf(y, y, fmaf(z, z, w * w)));
            if (d < least) {
                least = d;
                label = j;
            }
        }
        labels[i] = label;
    }
}

// Adds the first coordinates and the number of each cluster's points to `sums` (k, 2), and the
// squares of all first coordinates to `squares`.
extern "C" __global__ void __launch_bounds__(128)
accumulate(const float4* __restrict__ points, const int* __restrict__ labels, int n, int k,
           int* __restrict__ sums, unsigned long long* __restrict__ squares)
{
    extern __shared__ int block_sums[];
    __shared__ int warp_squares[4];
    for (int j = threadIdx.x; j < 2 * k; j += blockDim.x) block_sums[j] = 0;
    __syncthreads();  // CLEARED
    int square = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        int x = __float2int_rn(points[i].x);
        atomicAdd(&block_sums[2 * labels[i]], x);
        atomicAdd(&block_sums[2 * labels[i] + 1], 1);
        square += x * x;
    }
    for (int step = 16; step > 0; step >>= 1)
        square += __shfl_down_sync(0xffffffffu, square, step);
    if (threadIdx.x % 32 == 0) warp_squares[threadIdx.x / 32] = square;
    __syncthreads();  // SUMMED
    for (int j = threadIdx.x; j < 2 * k; j += blockDim.x) atomicAdd(&sums[j], block_sums[j]);
    if (threadIdx.x == 0) {
        unsigned long long total = 0;
        for (int warp = 0; warp < blockDim.x / 32; ++warp) total += warp_squares[warp];
        atomicAdd(squares, total);
    }
}

// a * b + c in doubles, contracted to one rounding unless --fmad=false forbids it.
extern "C" __global__ void
multiply_add(const double* __restrict__ a, const double* __restrict__ b,
             const double* __restrict__ c, int n, double* __restrict__ result)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) result[i] = a[i] * b[i] + c[i];
}
