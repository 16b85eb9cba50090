// Ends a round of the search and begins the next: takes the candidate if it is better than the
// best, and splits the clusters with the greatest variance.
//
// state    (3) of this round: the least error so far, how many clusters are split, the error of the
//          candidate
// counts   (2) of this round: centers after splitting, centers of the candidate; both are 0 in a
//          round that is not run because nothing is left to split
// next_state, next_counts: of the next round
// candidate, best: centers (k, AXES), variance (k), line (k, 2, AXES) as `spread` finds them
// low, high (AXES): bounds of all points
// fixed    so many centers, the first ones, stay where they are; what is split from them does not
// wide     (k + split, AXES): the centers after splitting
//
// Launch: any block, any grid. No fused multiply-add, as in `spread`.

#ifndef AXES
#define AXES 3
#endif

extern "C" __global__ void
place(const long long* __restrict__ state, const int* __restrict__ counts,
      long long* __restrict__ next_state, int* __restrict__ next_counts,
      const float* __restrict__ candidate,
      const double* __restrict__ candidate_variance, const double* __restrict__ candidate_line,
      float* __restrict__ best, double* __restrict__ best_variance, double* __restrict__ best_line,
      const float* __restrict__ low, const float* __restrict__ high, int k, int fixed,
      double offset, float* __restrict__ wide) {
    const bool better = counts[1] > 0 && state[2] < state[0];
    const long long split = better ? state[1] : state[1] / 2;
    const double* const variance = better ? candidate_variance : best_variance;
    const double* const line = better ? candidate_line : best_line;
    const float* const centers = better ? candidate : best;
    if (blockIdx.x == 0 && threadIdx.x == 0) {
        next_state[0] = better ? state[2] : state[0];
        next_state[1] = split;
        next_state[2] = 0;
        next_counts[0] = split ? k + (int)split : 0;
        next_counts[1] = split ? k : 0;
    }
    for (int c = blockIdx.x * blockDim.x + threadIdx.x; c < k; c += gridDim.x * blockDim.x) {
        const double own = variance[c];
        int rank = 0;
        for (int j = 0; j < k; ++j) rank += variance[j] > own || (variance[j] == own && j < c);
        for (int a = 0; a < AXES; ++a) {
            const float center = centers[(size_t)c * AXES + a];
            const double mean = line[(size_t)c * 2 * AXES + a];
            const double step = offset * line[(size_t)c * 2 * AXES + AXES + a];
            const double upper = rank < split ? mean + step : (double)center;
            wide[(size_t)c * AXES + a] =
                c < fixed
                    ? center
                    : (float)fmin(fmax(floor(upper + 0.5), (double)low[a]), (double)high[a]);
            if (rank < split)
                wide[(size_t)(k + rank) * AXES + a] =
                    (float)fmin(fmax(floor(mean - step + 0.5), (double)low[a]), (double)high[a]);
            if (better) best[(size_t)c * AXES + a] = center;
        }
        if (better) {
            best_variance[c] = own;
            for (int v = 0; v < 2 * AXES; ++v)
                best_line[(size_t)c * 2 * AXES + v] = line[(size_t)c * 2 * AXES + v];
        }
    }
}
