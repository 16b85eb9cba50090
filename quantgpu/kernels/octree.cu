// The cells of one octree level over Morton-sorted points. Called for level 1, then 2, … 8.
//
// codes    (n) Morton codes of 8 * AXES bits, ascending and distinct
// begins   (n): cells that begin at a point, 1 to 8: as many levels as its code does not share
//          with the one before
// cells    (n): the number of the coarsest of them; the others follow. The root is number 0
// sums     (2 + AXES, n + 1): prefix sums of weight, weight * x for each axis, weight * |x|^2
// level    1 … 8
// starts, ends, error, parent_error, children: of each cell, as in `octree.Octree`; those of the
//          level above are there, the root's is number 0
//
// Launch: any block, any grid. Floating point in the order of `RunningSums.squared_error`, without
// fused multiply-add (option --fmad=false): errors decide which cells are split.

#ifndef AXES
#define AXES 3
#endif
#if AXES == 3
typedef int Code;
#else
typedef long long Code;
#endif

__device__ int first_not_below(const Code* codes, int low, int high, Code bound) {
    while (low < high) {
        const int middle = (low + high) / 2;
        if (codes[middle] < bound) low = middle + 1;
        else high = middle;
    }
    return low;
}

extern "C" __global__ void
octree(const Code* __restrict__ codes, const signed char* __restrict__ begins,
       const int* __restrict__ cells, const long long* __restrict__ sums, int n, int level,
       int* __restrict__ starts, int* __restrict__ ends, double* __restrict__ error,
       double* __restrict__ parent_error, int* __restrict__ children) {
    const int shift = AXES * (8 - level);
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        const int coarsest = 9 - begins[i];
        if (coarsest > level) continue;
        const int cell = cells[i] + level - coarsest;
        const int end = first_not_below(codes, i + 1, n, ((codes[i] >> shift) + 1) << shift);
        int parent = 0;
        if (level > 1) {
            const Code mask = (Code)-1 << (shift + AXES);
            const int from =
                coarsest < level ? i : first_not_below(codes, 0, i, codes[i] & mask);
            parent = cells[from] + level - 1 - (9 - begins[from]);
        }
        const double mass = (double)(sums[end] - sums[i]);
        const long long* const squares = sums + (size_t)(1 + AXES) * (n + 1);
        double own = (double)(squares[end] - squares[i]);
        for (int a = 0; a < AXES; ++a) {
            const long long* const moment = sums + (size_t)(1 + a) * (n + 1);
            const double total = (double)(moment[end] - moment[i]);
            own -= total * total / mass;
        }
        const double bound = error[parent];
        starts[cell] = i;
        ends[cell] = end;
        error[cell] = level == 8 ? 0.0 : own < bound ? own : bound;
        parent_error[cell] = bound;
        atomicAdd(&children[parent], 1);
    }
}
