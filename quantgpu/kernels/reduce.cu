// The nearest center of every point and exact weighted sums per cluster, in one pass over the
// points that never writes a distance.
//
// columns  (AXES + 1, n): integer coordinates, |x| < BIAS; the last row is not read
// weights  (n): positive
// centers  (k, AXES): integer coordinates, all squared distances below 2^24
// count    k, at most the k that shared memory was sized for; when it is 0 nothing is done
// out      KIND 0: (n) the index of the nearest center, ties to the lowest
//          else (k, VALUES), to which are added, for each cluster,
//          KIND 1: weight, and weight * (x + BIAS) for each axis
//          KIND 2: these, and weight * (x_i + BIAS) * (x_j + BIAS) for each pair j <= i
//          KIND 3: weight * (how much farther, squared, the second nearest center lies)
//
// Launch: blocks of THREADS, any grid; 8 * VALUES * k bytes of dynamic shared memory if
// `in_shared`, else none: sums then go straight to `out`. A thread adds up runs of points with the
// same center before it touches memory, and shared sums are kept as two 32-bit words with a carry:
// 64-bit atomics on shared memory are loops.

#ifndef AXES
#define AXES 3
#endif
#ifndef KIND
#define KIND 1
#endif
#define THREADS 128
#define POINTS 4
#define TILE (AXES == 3 ? 256 : 204)  // 4 KiB
#define BIAS 2048

#if KIND == 0
#define VALUES 0
typedef int Out;
#elif KIND == 1
#define VALUES (1 + AXES)
#elif KIND == 2
#define VALUES (1 + AXES + AXES * (AXES + 1) / 2)
#else
#define VALUES 1
#endif
#if KIND != 0
typedef unsigned long long Out;
#endif

#if AXES == 3
struct __align__(16) Center {
#else
struct Center {
#endif
    float s[AXES];  // -2 * the coordinates
    float norm;     // their squared length
};

#if KIND != 0
__device__ __forceinline__ void flush(const Out* run, int cluster, int in_shared, unsigned* sums,
                                      Out* __restrict__ out) {
    for (int v = 0; v < VALUES; ++v) {
        const int slot = cluster * VALUES + v;
        if (in_shared) {
            const unsigned low = (unsigned)run[v];
            const unsigned before = atomicAdd(&sums[2 * slot], low);
            const unsigned high = (unsigned)(run[v] >> 32) + (before + low < before);
            if (high) atomicAdd(&sums[2 * slot + 1], high);
        } else {
            atomicAdd(&out[slot], run[v]);
        }
    }
}
#endif

extern "C" __global__ void __launch_bounds__(128)
reduce(const float* __restrict__ columns, const long long* __restrict__ weights,
       const float* __restrict__ centers, const int* __restrict__ count, int n, int in_shared,
       Out* __restrict__ out) {
    __shared__ Center tile[TILE];
    extern __shared__ unsigned sums[];
    const int k = *count;
    if (k == 0) return;
    for (int i = threadIdx.x; in_shared && i < 2 * VALUES * k; i += THREADS) sums[i] = 0;

    for (int base = blockIdx.x * THREADS * POINTS; base < n; base += gridDim.x * THREADS * POINTS) {
        const int first = base + threadIdx.x * POINTS;
        float x[POINTS][AXES], least[POINTS], second[POINTS];
        int label[POINTS];
        for (int p = 0; p < POINTS; ++p) {
            for (int a = 0; a < AXES; ++a)
                x[p][a] = first + p < n ? columns[(size_t)a * n + first + p] : 0;
            least[p] = second[p] = 3e38f;
            label[p] = 0;
        }
        for (int start = 0; start < k; start += TILE) {
            const int loaded = k - start < TILE ? k - start : TILE;
            const bool is_there = k <= TILE && base != blockIdx.x * THREADS * POINTS;
            __syncthreads();  // the last tile has been used
            for (int j = threadIdx.x; !is_there && j < loaded; j += THREADS) {
                float norm = 0;
                for (int a = 0; a < AXES; ++a) {
                    const float s = centers[(start + j) * AXES + a];
                    tile[j].s[a] = -2 * s;
                    norm += s * s;
                }
                tile[j].norm = norm;
            }
            __syncthreads();  // this tile, and zeroed sums, are there for all
            for (int j = 0; j < loaded; ++j) {
                const Center center = tile[j];
                for (int p = 0; p < POINTS; ++p) {
                    float distance = center.norm;
                    for (int a = 0; a < AXES; ++a) distance += x[p][a] * center.s[a];
                    if (KIND == 3)
                        second[p] = fminf(second[p], fmaxf(least[p], distance));
                    if (distance < least[p]) {
                        least[p] = distance;
                        label[p] = start + j;
                    }
                }
            }
        }
#if KIND == 0
        for (int p = 0; p < POINTS && first + p < n; ++p) out[first + p] = label[p];
#else
        Out run[VALUES];
#pragma unroll  // else KIND 2 keeps x and label in local memory
        for (int p = 0; p < POINTS && first + p < n; ++p) {
            if (p == 0 || label[p] != label[p - 1]) {
                if (p) flush(run, label[p - 1], in_shared, sums, out);
                for (int v = 0; v < VALUES; ++v) run[v] = 0;
            }
            const Out weight = weights[first + p];
#if KIND == 3
            run[0] += weight * (unsigned)(second[p] - least[p]);
#else
            run[0] += weight;
            int v = 1;
            for (int a = 0; a < AXES; ++a) run[v++] += weight * (unsigned)(x[p][a] + BIAS);
#if KIND == 2
            for (int i = 0; i < AXES; ++i)
                for (int j = 0; j <= i; ++j)
                    run[v++] += weight * (unsigned)((x[p][i] + BIAS) * (x[p][j] + BIAS));
#endif
#endif
            if (p == POINTS - 1 || first + p == n - 1)
                flush(run, label[p], in_shared, sums, out);
        }
#endif
    }
#if KIND != 0
    __syncthreads();  // all points are in the sums
    for (int i = threadIdx.x; in_shared && i < VALUES * k; i += THREADS) {
        const Out sum = ((Out)sums[2 * i + 1] << 32) + sums[2 * i];
        if (sum) atomicAdd(&out[i], sum);
    }
#endif
}
