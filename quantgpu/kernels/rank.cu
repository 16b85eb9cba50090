// Each center's nearest other center, and the centers in ascending order of their loss.
//
// centers  (m, AXES)
// losses   (m)
// count    m
// nearest  (m): the index of the nearest other center, ties to the lowest
// order    (m): indices of the centers, smallest loss first, ties to the lowest
//
// Launch: any block, any grid.

#ifndef AXES
#define AXES 3
#endif

extern "C" __global__ void
rank(const float* __restrict__ centers, const long long* __restrict__ losses,
     const int* __restrict__ count, int* __restrict__ nearest, int* __restrict__ order) {
    const int m = *count;
    for (int c = blockIdx.x * blockDim.x + threadIdx.x; c < m; c += gridDim.x * blockDim.x) {
        const long long own = losses[c];
        int cheaper = 0, neighbor = 0;
        float least = 3e38f;
        for (int j = 0; j < m; ++j) {
            const long long other = losses[j];
            cheaper += other < own || (other == own && j < c);
            float distance = 0;
            for (int a = 0; a < AXES; ++a) {
                const float gap = centers[(size_t)c * AXES + a] - centers[(size_t)j * AXES + a];
                distance += gap * gap;
            }
            if (j != c && distance < least) {
                least = distance;
                neighbor = j;
            }
        }
        nearest[c] = neighbor;
        order[cheaper] = c;
    }
}
