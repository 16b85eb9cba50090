// For each cluster the line along which its weighted variance is greatest, and the squared error
// of all clusters together. Clears the moments.
//
// moments  (k, 1 + AXES + AXES * (AXES + 1) / 2), as `reduce` adds them up
// centers  (k, AXES)
// count    k
// variance (k): the greatest weighted variance along one of the lines
// line     (k, 2, AXES): the mean, and a vector one standard deviation long
// error    () to which is added the summed weight * squared distance, less the sum of
//          weight * |x|^2, which no choice of centers changes
//
// Launch: any block, any grid; AXES is 3 or 4. Floating point in the order of `widest_axis`,
// without fused multiply-add (option --fmad=false): what is found decides which clusters are split.

#ifndef AXES
#define AXES 3
#endif
#define LINES (AXES == 3 ? 13 : 40)
#define BIAS 2048
#define PAIR(i, j) (1 + AXES + (i) * ((i) + 1) / 2 + (j))

__device__ const signed char DIRECTIONS[LINES][AXES] = {  // as `split_merge.directions` has them
#if AXES == 3
    {1, 0, 0}, {0, 1, 0}, {0, 0, 1}, {1, 1, 0}, {1, -1, 0}, {1, 0, 1}, {1, 0, -1},
    {0, 1, 1}, {0, 1, -1}, {1, 1, 1}, {1, 1, -1}, {1, -1, 1}, {1, -1, -1}};
#else
    {1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}, {1, 1, 0, 0}, {1, -1, 0, 0},
    {1, 0, 1, 0}, {1, 0, -1, 0}, {1, 0, 0, 1}, {1, 0, 0, -1}, {0, 1, 1, 0}, {0, 1, -1, 0},
    {0, 1, 0, 1}, {0, 1, 0, -1}, {0, 0, 1, 1}, {0, 0, 1, -1}, {1, 1, 1, 0}, {1, 1, -1, 0},
    {1, -1, 1, 0}, {1, -1, -1, 0}, {1, 1, 0, 1}, {1, 1, 0, -1}, {1, -1, 0, 1}, {1, -1, 0, -1},
    {1, 0, 1, 1}, {1, 0, 1, -1}, {1, 0, -1, 1}, {1, 0, -1, -1}, {0, 1, 1, 1}, {0, 1, 1, -1},
    {0, 1, -1, 1}, {0, 1, -1, -1}, {1, 1, 1, 1}, {1, 1, 1, -1}, {1, 1, -1, 1}, {1, 1, -1, -1},
    {1, -1, 1, 1}, {1, -1, 1, -1}, {1, -1, -1, 1}, {1, -1, -1, -1}};
#endif

extern "C" __global__ void
spread(long long* __restrict__ moments, const float* __restrict__ centers,
       const int* __restrict__ count, double* __restrict__ variance, double* __restrict__ line,
       unsigned long long* __restrict__ error) {
    const int k = *count;
    for (int c = blockIdx.x * blockDim.x + threadIdx.x; c < k; c += gridDim.x * blockDim.x) {
        long long* const cluster = moments + (size_t)c * PAIR(AXES, 0);
        const long long mass = cluster[0];
        const double weight = mass ? (double)mass : 1.0;
        long long biased[AXES], sum[AXES], loss = 0;
        double mean[AXES], covariance[AXES][AXES];
        for (int a = 0; a < AXES; ++a) {
            biased[a] = cluster[1 + a];
            sum[a] = biased[a] - BIAS * mass;
            mean[a] = (double)sum[a] / weight;
            const long long s = (long long)centers[(size_t)c * AXES + a];
            loss += s * s * mass - 2 * s * sum[a];
        }
        for (int i = 0; i < AXES; ++i)
            for (int j = 0; j <= i; ++j) {
                const long long product = cluster[PAIR(i, j)] - BIAS * (biased[i] + biased[j]) +
                                          (long long)BIAS * BIAS * mass;
                covariance[i][j] = (double)product - (double)sum[i] * mean[j];
            }
        double greatest = -1.0, deviation[AXES] = {0};
        for (int d = 0; d < LINES; ++d) {
            int length = 0;
            double along = 0.0;
            for (int i = 0; i < AXES; ++i) {
                const int a = DIRECTIONS[d][i];
                length += a * a;
                for (int j = 0; j <= i; ++j) {
                    const int b = DIRECTIONS[d][j];
                    if (a * b) along += (double)(i == j ? a * b : 2 * a * b) * covariance[i][j];
                }
            }
            along /= length;
            if (along > greatest) {
                greatest = along;
                const double size = sqrt((along > 0.0 ? along : 0.0) / weight / length);
                for (int a = 0; a < AXES; ++a) deviation[a] = size * DIRECTIONS[d][a];
            }
        }
        variance[c] = greatest;
        for (int a = 0; a < AXES; ++a) {
            line[(size_t)c * 2 * AXES + a] = mean[a];
            line[(size_t)c * 2 * AXES + AXES + a] = deviation[a];
        }
        for (int v = 0; v < PAIR(AXES, 0); ++v) cluster[v] = 0;
        atomicAdd(error, (unsigned long long)loss);
    }
}
