// main() of a program that runs one launch: argv[1] is a folder with a file "job" and one file for
// each array, which is read into an allocation of exactly its size, so that a sanitizer sees its
// ends, and written back.
#include <dlfcn.h>

#include <cstdint>
#include <cstring>
#include <deque>
#include <fstream>
#include <iostream>
#include <map>
#include <string>
#include <vector>

namespace {
struct Job {
  std::string folder, name;
  unsigned grid[3], block[3];
  size_t shared;
  int order;
  uint64_t seed;
  std::vector<void*> pointers;              // to the cells
  std::deque<std::vector<char>> values;     // by value, or a pointer to memory
  std::map<size_t, std::pair<char*, size_t>> arrays;
  std::string path(size_t i) const { return folder + "/" + std::to_string(i) + ".bin"; }
};

char* read_array(Job& job, size_t i, size_t bytes) {
  char* memory = (char*)std::malloc(bytes);
  std::ifstream(job.path(i), std::ios::binary).read(memory, (std::streamsize)bytes);
  job.arrays[i] = {memory, bytes};
  return memory;
}

// "a OWNER BYTES" is an array, the one at position OWNER; "s HEX" are the bytes of a value.
void read_argument(Job& job, std::istream& in, size_t i) {
  char kind;
  in >> kind;
  std::vector<char>& cell = job.values.emplace_back();
  if (kind == 'a') {
    size_t owner, bytes;
    in >> owner >> bytes;
    char* memory = owner == i ? read_array(job, i, bytes) : job.arrays.at(owner).first;
    cell.resize(sizeof memory);
    std::memcpy(cell.data(), &memory, sizeof memory);
  } else {
    std::string hex;
    in >> hex;
    for (size_t k = 0; k < hex.size(); k += 2)
      cell.push_back((char)std::stoi(hex.substr(k, 2), nullptr, 16));
  }
  job.pointers.push_back(cell.data());
}

Job read_job(const std::string& folder) {
  Job job;
  job.folder = folder;
  std::ifstream in(folder + "/job");
  size_t count;
  in >> job.name;
  for (unsigned& extent : job.grid) in >> extent;
  for (unsigned& extent : job.block) in >> extent;
  in >> job.shared >> job.order >> job.seed >> count;
  for (size_t i = 0; i < count; ++i) read_argument(job, in, i);
  return job;
}
}  // namespace

int main(int, char** argv) {
  Job job = read_job(argv[1]);
  using Run = int (*)(void**, const unsigned*, const unsigned*, size_t, int, uint64_t, char*, size_t);
  Run run = (Run)dlsym(RTLD_DEFAULT, ("cuda_on_cpu_launch_" + job.name).c_str());
  char message[2000] = "no such kernel";
  if (!run || run(job.pointers.data(), job.grid, job.block, job.shared, job.order, job.seed,
                  message, sizeof message)) {
    std::cerr << message << "\n";
    return 3;
  }
  for (const auto& [i, array] : job.arrays)
    std::ofstream(job.path(i), std::ios::binary).write(array.first, (std::streamsize)array.second);
}
