// Text in, verdict out, without Python: a file of `spam-export --text` in a C++ program.
//
//     g++ -std=c++17 -O2 examples/classify.cpp -I ORT/include -L ORT/lib -lonnxruntime -o classify
//     ./classify artifacts/spam.onnx libortextensions.so < messages.txt
//
// ORT is an onnxruntime release, the .so a build of onnxruntime-extensions, which brings the tokenizer. Reads one
// message a line; prints its label, a tab and its calibrated spam probability.

#include <onnxruntime_cxx_api.h>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

// The strings of a JSON array without escapes, or the one string.
static std::vector<std::string> strings(const std::string& json) {
    std::vector<std::string> found;
    for (size_t start = json.find('"'), end; start != std::string::npos; start = json.find('"', end + 1)) {
        end = json.find('"', start + 1);
        found.push_back(json.substr(start + 1, end - start - 1));
    }
    return found;
}

int main(int argc, char** argv) try {
    if (argc != 3) throw std::runtime_error("usage: classify MODEL.onnx EXTENSIONS.so < messages");
    Ort::Env env(ORT_LOGGING_LEVEL_ERROR, "classify");
    Ort::SessionOptions options;
    options.RegisterCustomOpsLibrary(argv[2]);
    Ort::Session session(env, argv[1], options);

    Ort::AllocatorWithDefaultOptions allocator;
    auto metadata = session.GetModelMetadata();
    auto value = [&](const char* key) -> std::string {  // JSON: a number, a string, an array
        return metadata.LookupCustomMetadataMapAllocated(key, allocator).get();
    };
    const double threshold = std::stod(value("spam_edge.threshold"));
    const double temperature = std::stod(value("spam_edge.temperature"));
    const auto labels = strings(value("spam_edge.labels")), positive = strings(value("spam_edge.spam_label"));
    const size_t spam = std::find(labels.begin(), labels.end(), positive[0]) - labels.begin();

    const char *input = "text", *output = "logits";
    const int64_t shape[] = {1};
    for (std::string line; std::getline(std::cin, line);) {
        const char* message = line.c_str();
        auto text = Ort::Value::CreateTensor(allocator, shape, 1, ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING);
        text.FillStringTensor(&message, 1);
        auto result = session.Run(Ort::RunOptions{}, &input, &text, 1, &output, 1);
        const float* logits = result[0].GetTensorData<float>();
        double total = 0;
        size_t other = spam == 0;  // the likeliest of the other labels
        for (size_t i = 0; i < labels.size(); ++i) {
            total += std::exp((logits[i] - logits[spam]) / temperature);
            if (i != spam && logits[i] > logits[other]) other = i;
        }
        std::printf("%s\t%.6f\n", labels[1 / total >= threshold ? spam : other].c_str(), 1 / total);
    }
} catch (const std::exception& error) {
    std::fprintf(stderr, "classify: %s\n", error.what());
    return 2;
}
