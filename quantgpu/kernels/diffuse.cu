// Error diffusion: see `diffusion.diffuse`, whose integers these are.
//
// colors   (frames, height, width): each pixel's color
// strength (frames, height, width): 0 … FULL
// points   (AXES, n): the grid coordinates of each color
// first    (n): where the cells of each color begin in `codes`; null for 0
// centers  (AXES, k): those of the palette
// origin   (AXES), shift, side1 … side3: see `NearestGrid`
// codes    for each cell the palette color of all its points, or ~i for those from entries[i] on
// entries  palette colors, ascending within a list, the last as ~color; and one more
// reach    grid steps that errors may move a pixel along an axis
// errors   (frames, bands + 1, DEPTH, AXES, width): of the last rows of the band above, the nearest
//          first; those above the picture are given, the others are written. All numbers, and their
//          sums with `reach`, are below 2^15
// progress (1 + frames * bands): zeros; how many bands were taken, and how many columns of the
//          errors below each are there
// index    (frames, height, width): palette colors
//
// Launch: frames * bands blocks of ROWS threads, bands = ceil(height / ROWS). A block takes the
// next band, so that the bands it waits for are taken already. Lane l works on row l of the band,
// LAG columns behind lane l - 1. Errors go from lane to lane; those of a band's last rows go through
// `errors`, SPAN columns at a time: a fence and a count of columns follow them.

#ifndef SHARES
#define SHARES 0, 0, 0, 8, 3, 0, 5, 8, 5, 3
#define DIVISOR 32
#define DEPTH 1
#define COLUMNS 5
#define LAG 2
#define LEAD 1
#endif
#ifndef AXES
#define AXES 3
#endif
#ifndef INDEX
#define INDEX unsigned char
#endif
#define FULL 64
#define ROWS 32
#define SPAN 16
#define ALL 0xffffffffu
#define MIDDLE (COLUMNS / 2)
#define WINDOW (LAG > LEAD + MIDDLE ? LAG : LEAD + MIDDLE)

__device__ const int WEIGHTS[DEPTH + 1][COLUMNS] = {SHARES};

struct Scheme {
    const int *points, *first, *centers, *codes, *entries;
    int n, k, shift, side[4], origin[AXES];
};

struct Pixel {
    int point[AXES], begin;
};

__device__ Pixel pixel_of(const Scheme& scheme, int color) {
    Pixel pixel;
    for (int a = 0; a < AXES; ++a) pixel.point[a] = __ldg(scheme.points + a * scheme.n + color);
    pixel.begin = scheme.first ? __ldg(scheme.first + color) : 0;
    return pixel;
}

__device__ int nearest(const Scheme& scheme, const int* at, int begin) {
    int place = 0;
    for (int a = 0; a < AXES; ++a)
        place = place * scheme.side[a] + ((at[a] - scheme.origin[a]) >> scheme.shift);
    const int code = __ldg(scheme.codes + begin + place);
    if (code >= 0) return code;
    const int* entry = scheme.entries + ~code;
    unsigned least = ~0u;
    int found = 0;
    for (int next = __ldg(entry), current = 0; current >= 0;) {
        current = next;
        next = __ldg(++entry);
        const int center = current < 0 ? ~current : current;
        unsigned distance = 0;
        for (int a = 0; a < AXES; ++a) {
            const int gap = at[a] - __ldg(scheme.centers + a * scheme.k + center);
            distance += gap * gap;
        }
        if (distance < least) {
            least = distance;
            found = center;
        }
    }
    return found;
}

__device__ int floor_divide(int a, int b) {  // b > 0
    return a / b - (a % b < 0);
}

// How far the errors around a pixel move it along an axis.
__device__ int movement(const int near[][WINDOW + 1][AXES], int axis, int strength, int reach) {
    int sum = 0;
    for (int dy = 0; dy <= DEPTH; ++dy)
        for (int c = 0; c < COLUMNS; ++c)
            if (WEIGHTS[dy][c]) sum += WEIGHTS[dy][c] * near[dy][LEAD + c - MIDDLE][axis];
    const int moved = floor_divide(sum * strength + DIVISOR * FULL / 2, DIVISOR * FULL);
    return max(min(moved, reach), -reach);
}

__device__ void wait_for(const int* published, int columns) {
    while (*(const volatile int*)published < columns) __nanosleep(40);
    __threadfence();  // errors are read after the count
}

extern "C" __global__ void __launch_bounds__(32, 1)
diffuse(const int* __restrict__ colors, const unsigned char* __restrict__ strength,
        const int* __restrict__ points, const int* __restrict__ first,
        const int* __restrict__ centers, const int* __restrict__ origin,
        const int* __restrict__ codes, const int* __restrict__ entries, int n, int k, int shift,
        int side1, int side2, int side3, int reach, int frames, int height, int width, int* errors,
        int* progress, INDEX* __restrict__ index) {
    Scheme scheme = {points, first, centers, codes, entries,
                     n, k, shift, {0, side1, side2, side3}};
    for (int a = 0; a < AXES; ++a) scheme.origin[a] = origin[a];
    const int lane = threadIdx.x, bands = (height + ROWS - 1) / ROWS;
    const int ticket = __shfl_sync(ALL, lane == 0 ? atomicAdd(&progress[0], 1) : 0, 0);
    const int frame = ticket % frames, band = ticket / frames;
    int* const published = progress + 1 + frame * bands + band;
    const int rows = min(height - band * ROWS, ROWS);
    const size_t row = ((size_t)frame * height + band * ROWS + lane) * width;
    const size_t slot = (size_t)DEPTH * AXES * width;
    const int* const above = errors + ((size_t)frame * (bands + 1) + band) * slot;
    int* const below = errors + ((size_t)frame * (bands + 1) + band + 1) * slot +
                       (rows - 1 - lane) * AXES * width;
    const bool kept = lane < rows && lane >= rows - DEPTH;

    // Errors of this row and of those above it, from LEAD columns to the right on leftwards.
    int near[DEPTH + 1][WINDOW + 1][AXES] = {};
    int arriving[DEPTH][AXES] = {}, error[AXES] = {};
    Pixel next = {};
    int next_strength = 0, color = 0;
    for (int step = -LEAD - 2; step < width + LAG * (rows - 1); ++step) {
        const int x = step - LAG * lane;
        const Pixel pixel = next;
        const int share = next_strength, ahead = step + 1 + LEAD;
        if (lane < rows && x + 1 >= 0 && x + 1 < width) {
            next = pixel_of(scheme, color);
            next_strength = strength[row + x + 1];
        }
        if (lane < rows && x + 2 >= 0 && x + 2 < width) color = colors[row + x + 2];
        for (int dy = 0; dy <= DEPTH; ++dy)
            for (int a = 0; a < AXES; ++a) {
                for (int j = WINDOW; j > 0; --j) near[dy][j][a] = near[dy][j - 1][a];
                if (dy == 0) {
                    near[0][LEAD + 1][a] = error[a];
                } else {
                    near[dy][0][a] = __shfl_up_sync(ALL, near[dy - 1][LAG][a], 1);
                    if (lane == 0) near[dy][0][a] = arriving[dy - 1][a];
                }
            }
        if (lane == 0) {
            if (band > 0 && ahead >= 0 && ahead % SPAN == 0 && ahead < width)
                wait_for(published - 1, min(ahead + SPAN, width));
            for (int dy = 0; dy < DEPTH; ++dy)
                for (int a = 0; a < AXES; ++a)
                    arriving[dy][a] =
                        ahead >= 0 && ahead < width ? above[(dy * AXES + a) * width + ahead] : 0;
        }
        const bool inside = lane < rows && x >= 0 && x < width;
        for (int a = 0; a < AXES; ++a) error[a] = 0;
        if (inside) {
            int moved[AXES];
            for (int a = 0; a < AXES; ++a)
                moved[a] = pixel.point[a] + movement(near, a, share, reach);
            const int found = nearest(scheme, moved, pixel.begin);
            index[row + x] = found;
            for (int a = 0; a < AXES; ++a) {
                error[a] = moved[a] - __ldg(centers + a * k + found);
                if (kept) below[a * width + x] = error[a];
            }
        }
        const int done = step + 1 - LAG * (ROWS - 1);
        if (done > 0 && (done % SPAN == 0 || done == width)) {
            __syncwarp();  // all lanes have written
            if (lane == 0) {
                __threadfence();  // errors are there before the count
                *(volatile int*)published = done;
            }
        }
    }
}
