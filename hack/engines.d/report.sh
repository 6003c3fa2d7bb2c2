print_counts() { :; }
print_differences() { :; }
print_table() { :; }
